"""Those who speak another language: each is told so in ours, or simply cut off (RFC 9112 section 3)."""

from .case import Case, get, refused

TLS = bytes.fromhex("1603010200010001fc0303") + bytes(range(1, 200))

CASES: tuple[Case, ...] = (
    refused("9113-3.4", "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    refused("9113-3.4", "half an HTTP/2 preface", b"PRI * HTTP/2.0\r\n"),
    refused("9113-3.4", "PRI in HTTP/1.1", get(line=b"PRI * HTTP/1.1")),
    refused("9112-3", "TLS hello", TLS),
    refused("9112-3", "TLS record header", TLS[:5]),
    refused("9112-3", "TLS alert", bytes.fromhex("15030100020228")),
    refused("9112-3", "SSL 2 hello", bytes.fromhex("802e0100020015000000100700c0")),
    refused("9112-3", "PROXY protocol 1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get()),
    refused("9112-3", "PROXY protocol 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + get()),
    refused("9112-3", "SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    refused("9112-3", "SMTP", b"EHLO example.org\r\n"),
    refused("9112-3", "Redis", b"*1\r\n$4\r\nPING\r\n"),
    refused("9112-3", "memcached", b"stats\r\n"),
    refused("9112-3", "RTSP", b"OPTIONS rtsp://a/ RTSP/1.0\r\n\r\n"),
    refused("9112-3", "SIP", b"INVITE sip:a@b SIP/2.0\r\n\r\n"),
    refused("9112-3", "a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    refused("9112-3", "SOCKS 5", b"\x05\x01\x00"),
    refused("9112-3", "SOCKS 4", b"\x04\x01\x00\x50\x01\x02\x03\x04\x00"),
    refused("9112-3", "RDP", b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"),
    refused("9112-3", "SMB", b"\x00\x00\x00\x54\xffSMB\x72"),
    refused("9112-3", "QUIC by accident", b"\xc3\x00\x00\x00\x01\x08"),
    refused("9112-3", "websocket frame", b"\x81\x85\x01\x02\x03\x04abcde"),
    refused("9112-3", "UTF-16", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".encode("utf-16")),
    refused("9112-3", "UTF-16, little end first", "GET / HTTP/1.1\r\n".encode("utf-16-le")),
    refused("9112-3", "byte order mark", b"\xef\xbb\xbf" + get()),
    refused("9112-3", "nothing but NUL", bytes(100)),
    refused("9112-3", "nothing but 0xff", b"\xff" * 100 + b"\r\n"),
    refused("9112-3", "nothing but lines", b"\r\n" * 1000),
    refused("9112-3", "nothing but LF", b"\n" * 1000),
    refused("9112-3", "curl's mistake: a URL alone", b"http://example.org/\r\n\r\n"),
    refused("9112-3", "JSON", b'{"method": "GET"}\r\n\r\n'),
    refused("9112-3", "XML", b"<?xml version='1.0'?>\r\n<a/>\r\n"),
)
