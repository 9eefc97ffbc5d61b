"""Host: exactly once in HTTP/1.1, and within the grammar (RFC 9112 section 3.2, RFC 9110 section 7.2)."""

from .case import Case, accepted, each, get, last, refused


def host(value: bytes) -> bytes:
    return get(host=b"Host:" + value)


GOOD = (
    b" a", b"a", b"\ta", b" \t a \t ", b" A", b" example.org", b" example.org.", b" a:80", b" a:", b" a:0",
    b" a:00080", b" a:65535", b" 127.0.0.1", b" 127.0.0.1:8080", b" 999.1.1.1", b" [::1]", b" [::1]:80", b" [::1]:",
    b" [2001:db8::1]", b" [::ffff:1.2.3.4]", b" [v1.x]", b" [vF.a:b]:1", b" a_b", b" -a-", b" ~", b" a!$&'()*+,;=",
    b" %41%7E", b" xn--e1afmkfd", b" " + b"a" * 255, b" 1", b" a..b", b" .",
)  # fmt: skip
BAD = (
    b"", b" ", b"\t", b" a b", b" a\tb", b" a, b", b" a/", b" /a", b" a/b", b" http://a", b" a?x", b" a#x", b" @a",
    b" u@a", b" u:p@a", b" a@", b" :80", b" :", b" a:x", b" a:80x", b" a:x80", b" a:-1", b" a:+80", b" a: 80",
    b" a :80", b" a:80:80", b" a:65536", b" a:99999", b" a:100000", b" a:0x50", b" a:8_0", b" a:\xb2",
    b" a:" + b"1" * 5000, b" ::1", b" [::1", b" ::1]", b" []", b" [:]", b" [::g]", b" [1.2.3.4]", b" [::1]80",
    b" [::1]:x", b" [::1]:65536", b" [[::1]]", b" [::1%25eth0]", b" [fe80::1%eth0]", b" [v1]", b" [v.x]", b" [vg.x]",
    b" [v1.]", b" [12345::]", b" [1:2:3:4:5:6:7:8:9]", b" [::1::]", b' "a"', b" 'a\"", b" <a>", b" a\\b", b" a^b",
    b" a`b", b" {a}", b" a|b", b" %", b" %4", b" %zz", b" a%", b" \x80", b" \xc3\xa9", b" \xff", b" a\x7f",
)  # fmt: skip

CASES: tuple[Case, ...] = (
    *each(accepted, "9110-7.2", "Host", host, GOOD),
    *each(refused, "9110-7.2", "Host", host, BAD),
    *each(accepted, "9110-5.1", "name", lambda name: get(host=name + b": a"), (b"host", b"HOST", b"hOsT")),
    refused("9112-3.2", "no Host", get(host=b"")),
    refused("9112-3.2", "no Host, other fields", get(b"X-Host: a", b"Hosts: a", host=b"")),
    refused("9112-3.2", "no Host, absolute form", get(line=b"GET http://a/ HTTP/1.1", host=b"")),
    refused("9112-3.2", "no Host, HTTP/1.2", get(line=b"GET / HTTP/1.2", host=b"")),
    refused("9112-3.2", "no Host, OPTIONS *", get(line=b"OPTIONS * HTTP/1.1", host=b"")),
    refused("9112-3.2", "two Hosts, equal", get(b"Host: a")),
    refused("9112-3.2", "two Hosts, different", get(b"Host: b")),
    refused("9112-3.2", "two Hosts, other case", get(b"hOST: a")),
    refused("9112-3.2", "two Hosts, one empty", get(b"Host:")),
    refused("9112-3.2", "two Hosts, far apart", get(b"Host: b", *[b"X: y"] * 50)),
    refused("9112-3.2", "three Hosts", get(b"Host: a", b"Host: a")),
    refused("9112-3.2", "two Hosts, HTTP/1.0", get(b"Host: a", line=b"GET / HTTP/1.0")),
    refused("9112-3.2", "bad Host, HTTP/1.0", get(host=b"Host: a b", line=b"GET / HTTP/1.0")),
    refused("9112-3.2.2", "bad Host, absolute form", get(host=b"Host: a b", line=b"GET http://a/ HTTP/1.1")),
    accepted("9112-3.2.2", "other Host, absolute form: the target counts", get(line=b"GET http://b:81/ HTTP/1.1")),
    last("9112-3.2", "no Host, HTTP/1.0", get(host=b"", line=b"GET / HTTP/1.0")),
    refused("9112-5", "Host folded", get(host=b"Host:\r\n a")),
    refused("9112-5.1", "Host, space before the colon", get(host=b"Host : a")),
    refused("9112-5.1", "Host without a colon", get(host=b"Host a")),
)
