"""The formats of access log lines, byte for byte, and that a peer cannot forge a line."""

import json
import re
import time

import pytest

from mreactor.config import Limits
from mreactor.http.headers import Headers
from mreactor.http.request_head import RequestHead
from mreactor.http1.head_parser import Parser
from mreactor.logs.access import AccessBuffer
from mreactor.logs.access_formats import FORMATS, TEXT_CHARS_MAX, RequestDetails, quote
from tests.logs.access_lines import BARE, CLF, HEAD, PEER, WALL, MemoryWriter, a_buffer, a_head

JSON = '{"time":"2026-11-22T21:39:15Z","peer":"192.0.2.1",'


# Formats.


@pytest.mark.parametrize(
    ("form", "head", "status", "length", "expected"),
    [
        ("common", HEAD, 200, 13, CLF + '"GET /x?y=1 HTTP/1.1" 200 13\n'),
        ("common", BARE, 304, 0, CLF + '"GET /bare HTTP/1.1" 304 0\n'),
        ("common", BARE, 200, -1, CLF + '"GET /bare HTTP/1.1" 200 -\n'),
        ("common", None, 400, 57, CLF + '"-" 400 57\n'),
        ("combined", HEAD, 200, 13, CLF + '"GET /x?y=1 HTTP/1.1" 200 13 "http://example.org/" "curl/8.14.1"\n'),
        ("combined", BARE, 404, 0, CLF + '"GET /bare HTTP/1.1" 404 0 "-" "-"\n'),
        ("combined", None, 431, -1, CLF + '"-" 431 - "-" "-"\n'),
        (
            "json",
            HEAD,
            200,
            13,
            JSON + '"method":"GET","target":"/x?y=1","version":"1.1","status":200,"bytes":13,'
            '"referer":"http://example.org/","user_agent":"curl/8.14.1"}\n',
        ),
        (
            "json",
            None,
            400,
            -1,
            JSON + '"method":null,"target":null,"version":null,"status":400,"bytes":null,'
            '"referer":null,"user_agent":null}\n',
        ),
    ],
)
def test_formats(
    writer: MemoryWriter, form: str, head: RequestHead | None, status: int, length: int, expected: str
) -> None:
    buffer = a_buffer(writer, form)
    for _ in range(2):  # the first line is rendered, the second joined from remembered parts
        buffer.log_request(PEER, head, status, length)
        assert writer.take(buffer) == expected


# What can be said beside: see `RequestDetails`.
SAID = RequestDetails(0.0312345678, "/x/{name}", 'id-"7"')
UNKNOWN = RequestDetails(12.0, "", "")
ALL = ("duration", "route", "request-id")


@pytest.mark.parametrize(
    ("form", "names", "details", "expected"),
    [
        ("common", ALL, SAID, r' 200 13 0.031235 "/x/{name}" "id-\x227\x22"'),
        ("common", ALL[::-1], SAID, r' 200 13 "id-\x227\x22" "/x/{name}" 0.031235'),
        ("common", ("duration",), UNKNOWN, " 200 13 12.000000"),
        ("common", ALL, UNKNOWN, ' 200 13 12.000000 "-" "-"'),
        ("combined", ALL, SAID, r' "curl/8.14.1" 0.031235 "/x/{name}" "id-\x227\x22"'),
        ("short", ALL, SAID, r" 200 GET /x?y=1 13 B 31.2 ms /x/{name} id-\x227\x22"),
        ("short", ("route",), UNKNOWN, " 200 GET /x?y=1 13 B -"),
        (
            "json",
            ALL,
            SAID,
            r'"user_agent":"curl/8.14.1","duration":0.031235,"route":"/x/{name}","request_id":"id-\"7\""}',
        ),
        ("json", ALL, UNKNOWN, '"user_agent":"curl/8.14.1","duration":12.000000,"route":null,"request_id":null}'),
        ("json", (), SAID, '"user_agent":"curl/8.14.1"}'),
    ],
)
def test_details(
    writer: MemoryWriter, form: str, names: tuple[str, ...], details: RequestDetails, expected: str
) -> None:
    buffer = AccessBuffer(FORMATS[form](), writer.put, names)
    for _ in range(2):
        buffer.log_details(PEER, HEAD, 200, 13, details, is_whole=True)
        line = writer.take(buffer)
        assert line.endswith(expected + "\n")
        buffer.log_details(PEER, HEAD, 200, 13, details, is_whole=False)
        marked = expected[:-1] + ',"incomplete":true}' if form == "json" else expected + " incomplete"
        line = writer.take(buffer)
        assert line.endswith(marked + "\n")
        if form == "json":
            json.loads(line)


def test_details_of_a_request_that_could_not_be_read(writer: MemoryWriter) -> None:
    buffer = AccessBuffer(FORMATS["common"](), writer.put, ["duration"])
    buffer.begin_second(WALL)
    buffer.log_details(PEER, None, 400, 0, UNKNOWN, is_whole=True)
    assert writer.take(buffer) == CLF + '"-" 400 0 12.000000\n'
    buffer.log_incomplete(PEER, None, 400, 0)
    assert writer.take(buffer) == CLF + '"-" 400 0 incomplete\n'


def test_methods_and_versions(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    buffer.log_request(PEER, a_head("*", method="OPTIONS"), 204, 0)
    buffer.log_request(PEER, a_head("http://example.org/a", version="1.0", method="POST"), 201, 5)
    assert writer.take(buffer) == (
        CLF + '"OPTIONS * HTTP/1.1" 204 0\n' + CLF + '"POST http://example.org/a HTTP/1.0" 201 5\n'
    )


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8::7", 1, 0, 0), "2001:db8::7"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::1%eth0"),
        (("::ffff:192.0.2.1", 1, 0, 0), "::ffff:192.0.2.1"),
        ((), "-"),
        ("", "-"),
        ("/run/client.sock", "-"),
        (b"\0abstract", "-"),
    ],
)
def test_peers(writer: MemoryWriter, buffer: AccessBuffer, peer: tuple[str, int] | str | bytes, host: str) -> None:
    for _ in range(2):
        buffer.log_request(peer, BARE, 200, 1)
        assert writer.take(buffer) == f'{host} - - [22/Nov/2026:21:39:15 +0000] "GET /bare HTTP/1.1" 200 1\n'


def test_a_peer_without_host_in_json(writer: MemoryWriter) -> None:
    buffer = a_buffer(writer, "json")
    buffer.log_request("", None, 400, 0)
    assert json.loads(writer.take(buffer))["peer"] is None


def test_equal_requests_are_logged_together(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    line = CLF + '"GET /bare HTTP/1.1" 200 1\n'
    buffer.log_request(PEER, BARE, 200, 1, 3)
    buffer.log_request(PEER, BARE, 200, 1, 2)
    assert writer.take(buffer) == line * 5


def test_lines_keep_their_order(writer: MemoryWriter, buffer: AccessBuffer) -> None:
    for status in (200, 404, 200, 304):
        buffer.log_request(PEER, BARE, status, 0)
    assert re.findall(r'" (\d+) ', writer.take(buffer)) == ["200", "404", "200", "304"]


@pytest.mark.parametrize(
    ("wall", "common", "rfc3339"),
    [
        (0.0, "[01/Jan/1970:00:00:00 +0000]", "1970-01-01T00:00:00Z"),
        (0.999, "[01/Jan/1970:00:00:00 +0000]", "1970-01-01T00:00:00Z"),
        (951782400.5, "[29/Feb/2000:00:00:00 +0000]", "2000-02-29T00:00:00Z"),
        (1795383599.0, "[22/Nov/2026:21:39:59 +0000]", "2026-11-22T21:39:59Z"),
        (1795383600.0, "[22/Nov/2026:21:40:00 +0000]", "2026-11-22T21:40:00Z"),
    ],
)
def test_the_time_changes_with_the_second(writer: MemoryWriter, wall: float, common: str, rfc3339: str) -> None:
    for form, expected in (("common", common), ("combined", common), ("json", f'{{"time":"{rfc3339}",')):
        buffer = a_buffer(writer, form)
        buffer.log_request(PEER, HEAD, 200, 1)
        assert expected not in writer.take(buffer)
        buffer.begin_second(wall)
        for _ in range(2):
            buffer.log_request(PEER, HEAD, 200, 1)
        assert writer.take(buffer).count(expected) == 2


def test_a_new_buffer_knows_the_time(writer: MemoryWriter) -> None:
    before = int(time.time())
    buffer = AccessBuffer(FORMATS["json"](), writer.put)
    buffer.log_request(PEER, None, 400, 0)
    stamps = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(s)) for s in range(before, int(time.time()) + 1)]
    assert json.loads(writer.take(buffer))["time"] in stamps


# A peer cannot forge a line.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ("plain text, with (nearly) everything: !#$%&'*+-./:;<=>?@[]^_`{|}~", None),
        ('say "hi"', "say \\x22hi\\x22"),
        ("C:\\x22", "C:\\x5Cx22"),
        ("a\tb\r\nc\0\x1b[2J\x7f", "a\\x09b\\x0D\\x0Ac\\x00\\x1B[2J\\x7F"),
        ("caf\xc3\xa9 \xff\x80", "caf\\xC3\\xA9 \\xFF\\x80"),
    ],
)
def test_quote(text: str | None, expected: str | None) -> None:
    assert quote(text) == (text if expected is None else expected)


HOSTILE = a_head("/?q=\\", b'Referer: x" "forged" \\" 1\ttab', b"User-Agent: caf\xc3\xa9 \xff\x85" + "\u2028".encode())


def test_bytes_from_a_peer_stay_in_their_quotes(writer: MemoryWriter) -> None:
    buffer = a_buffer(writer, "combined")
    buffer.log_request(PEER, HOSTILE, 200, 1)
    assert writer.take(buffer) == (
        CLF + '"GET /?q=\\x5C HTTP/1.1" 200 1 "x\\x22 \\x22forged\\x22 \\x5C\\x22 1\\x09tab"'
        ' "caf\\xC3\\xA9 \\xFF\\x85\\xE2\\x80\\xA8"\n'
    )


def test_bytes_from_a_peer_stay_in_their_json_string(writer: MemoryWriter) -> None:
    buffer = a_buffer(writer, "json")
    buffer.log_request(PEER, HOSTILE, 200, 1)
    line = writer.take(buffer)
    assert line.isascii()
    assert line.count("\n") == 1
    fields = json.loads(line)
    assert fields["target"] == "/?q=\\"
    assert fields["referer"] == 'x" "forged" \\" 1\ttab'
    assert fields["user_agent"].encode("latin-1") == b"caf\xc3\xa9 \xff\x85\xe2\x80\xa8"


@pytest.mark.parametrize(("form", "escaped"), [("combined", "\\xFF"), ("json", "\\u00ff")])
def test_long_texts_are_cut_before_they_are_escaped(writer: MemoryWriter, form: str, escaped: str) -> None:
    """So a byte costs at most as much as six, and a request no more than some kilobytes."""
    field = b"\xff" * 4 * TEXT_CHARS_MAX
    target = "/?" + "\\" * 2 * TEXT_CHARS_MAX
    buffer = a_buffer(writer, form)
    buffer.log_request(PEER, a_head(target, b"Referer: " + field, b"User-Agent: " + field), 200, 1)
    line = writer.take(buffer)
    assert line.count(f'"{escaped * TEXT_CHARS_MAX}..."') == 2
    assert len(line) < 3 * len(escaped) * TEXT_CHARS_MAX + 1000
    assert line.count("\n") == 1


def test_texts_of_the_greatest_length_are_not_cut() -> None:
    assert quote("x" * TEXT_CHARS_MAX) == "x" * TEXT_CHARS_MAX
    assert quote("x" * (TEXT_CHARS_MAX + 1)) == "x" * TEXT_CHARS_MAX + "..."


@pytest.mark.parametrize("form", ["combined", "json"])
@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x85])
def test_control_characters_never_reach_the_file(writer: MemoryWriter, form: str, code: int) -> None:
    """The parser refuses nearly all of them. If it let one pass, a line would still be one line."""
    head = Parser(Limits()).parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    fields = (("user-agent", f"a{chr(code)}b"), ("referer", f"{chr(code)}\n127.0.0.1 - -"))
    head.fields.decoded = Headers(fields)
    head.line.target = f"/{chr(code)}"
    buffer = a_buffer(writer, form)
    buffer.log_request(PEER, head, 200, 1)
    line = writer.take(buffer)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.isascii()
