"""The named patterns: what each takes, what it refuses, and that none of them can be made slow."""

import re
import string
import time
from collections.abc import Callable

import pytest

from mreactor.http1 import grammar
from mreactor.http1.grammar import (
    ABSOLUTE_FORM,
    CHUNK_LINE,
    CONTENT_LENGTH,
    FIELD_LINE,
    FORBIDDEN,
    HOST,
    IS_TOKEN,
    ORIGIN_FORM,
    PLAIN_FIELD_LINE,
    PLAIN_REQUEST_LINE,
    REQUEST_LINE,
)

TCHAR = set(b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode())
BYTES = [bytes([number]) for number in range(256)]

PATTERNS = {name: value for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}

HOSTILE_BYTES = 32 * 1024
HOSTILE_SECONDS_MAX = 0.05


def taken(pattern: re.Pattern[bytes], around: Callable[[bytes], bytes] = lambda byte: byte) -> set[int]:
    """The bytes that a pattern takes at the place that `around` puts them."""
    return {byte[0] for byte in BYTES if pattern.fullmatch(around(byte))}


# --- Tokens and lines. ---


def test_a_token_holds_tchar_and_nothing_else() -> None:
    assert taken(IS_TOKEN) == TCHAR
    assert not IS_TOKEN.fullmatch(b"")


def test_a_field_name_holds_tchar_and_nothing_else() -> None:
    assert taken(FIELD_LINE, lambda byte: b"a%bb: c" % byte) == TCHAR | {ord(":")}  # "a:b: c" names a field "a"
    assert taken(FIELD_LINE, lambda byte: b"%b: c" % byte) == TCHAR


def test_a_field_value_holds_visible_bytes_obs_text_and_white_space() -> None:
    assert taken(FIELD_LINE, lambda byte: b"a: b%bc" % byte) == {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)}


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"a:", b"a", b""),
        (b"a: ", b"a", b""),
        (b"a:b", b"a", b"b"),
        (b"a:\t b", b"a", b"b"),
        (b"a: b ", b"a", b"b "),
        (b"a: b:c", b"a", b"b:c"),
        (b"a::", b"a", b":"),
    ],
)
def test_a_field_line_is_split_at_its_first_colon(line: bytes, name: bytes, value: bytes) -> None:
    match = FIELD_LINE.fullmatch(line)
    assert match
    assert match.groups() == (name, value)


@pytest.mark.parametrize(
    "line", [b"", b":", b": b", b"a", b"a b", b"a : b", b" a: b", b"\ta: b", b"a\x00: b", b"\xe9: b"]
)
def test_a_line_that_is_no_field_is_refused(line: bytes) -> None:
    assert not FIELD_LINE.fullmatch(line)


def test_forbidden_are_control_bytes_but_for_tab() -> None:
    assert {byte[0] for byte in BYTES if FORBIDDEN.search(byte)} == set(range(0x20)) - {0x09} | {0x7F}


FRAMING_NAMES = [b"Connection", b"Content-Length", b"Expect", b"Host", b"Transfer-Encoding"]


@pytest.mark.parametrize("name", FRAMING_NAMES)
def test_a_field_of_framing_is_not_plain(name: bytes) -> None:
    for written in (name, name.lower(), name.upper(), name.swapcase()):
        for value in (b"", b" a", b"a", b"\t\xe9", b":"):
            assert FIELD_LINE.fullmatch(written + b":" + value)
            assert not PLAIN_FIELD_LINE.fullmatch(written + b":" + value)
    for other in (b"X-" + name, name + b"-X", name + b"s", name[:-1], name[1:], name.replace(b"-", b"_") + b"_"):
        assert PLAIN_FIELD_LINE.fullmatch(other + b": a")


def test_a_plain_field_line_holds_what_a_field_line_holds() -> None:
    for around in (b"a%bb: c", b"%b: c", b"a: b%bc", b"a:%b", b"a%b: b", b"a: %b"):
        assert taken(PLAIN_FIELD_LINE, lambda byte, around=around: around % byte) == taken(
            FIELD_LINE, lambda byte, around=around: around % byte
        )


# --- The request line. ---


def test_a_request_line_has_four_parts() -> None:
    match = REQUEST_LINE.fullmatch(b"GET /a?b HTTP/1.1")
    assert match
    assert match.groups() == (b"GET", b"/a?b", b"1", b"1")


@pytest.mark.parametrize("around", ["GET /a%sb HTTP/1.1", "GET /?%s HTTP/1.1", "G%sT / HTTP/1.1", "GET / HTTP/1.%s"])
def test_a_plain_request_line_is_a_request_line_in_origin_form(around: str) -> None:
    """Both patterns give the same parts of it."""
    for code in range(256):
        line = around % chr(code)
        plain, whole = PLAIN_REQUEST_LINE.fullmatch(line), REQUEST_LINE.fullmatch(line.encode("latin-1"))
        target = whole and ORIGIN_FORM.fullmatch(whole[2])
        if plain is None:
            assert target is None or whole is None or not whole[1].isalpha() or not whole[1].isupper()
        else:
            assert whole
            assert target
            parts = (whole[1], whole[2], target[1], target[2], whole[4])
            assert plain.groups() == tuple(part if part is None else part.decode("ascii") for part in parts)


def test_a_method_holds_tchar_and_nothing_else() -> None:
    assert taken(REQUEST_LINE, lambda byte: b"%b / HTTP/1.1" % byte) == TCHAR


def test_a_target_holds_visible_ascii_and_nothing_else() -> None:
    assert taken(REQUEST_LINE, lambda byte: b"GET /%b HTTP/1.1" % byte) == set(range(0x21, 0x7F))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET / a HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/11",
        b"GET / HTTP/1.",
        b"GET / HTTP/.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/-1.1",
        b"GET / HTTP/+1.1",
        b"GET / HTTP/1,1",
        b"GET / HTTPS/1.1",
        b"GET / HTTP / 1.1",
        b"GET / HTTP/1.\xb2",
        b"/ HTTP/1.1",
        b"GET HTTP/1.1",
    ],
)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    assert not REQUEST_LINE.fullmatch(line)


# --- Targets and hosts. ---

UNRESERVED = set(string.ascii_letters.encode() + string.digits.encode() + b"-._~")
PCHAR = UNRESERVED | set(b"!$&'()*+,;=:@")
LEFT_BY_BROWSERS = set(b"[]|")
LEFT_IN_QUERIES = set(b"{}\\^`%")


def test_a_path_holds_pchar_slashes_and_what_browsers_leave() -> None:
    found = taken(ORIGIN_FORM, lambda byte: b"/a%bb" % byte)
    assert found == PCHAR | LEFT_BY_BROWSERS | {ord("/"), ord("?")}  # "?" begins the query


def test_a_query_holds_a_little_more() -> None:
    found = taken(ORIGIN_FORM, lambda byte: b"/?a%bb" % byte)
    assert found == PCHAR | LEFT_BY_BROWSERS | LEFT_IN_QUERIES | {ord("/"), ord("?")}


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", None),
        (b"/?", b"/", b""),
        (b"/a/b?c=d?e", b"/a/b", b"c=d?e"),
        (b"//a", b"//a", None),
        (b"/%00%ff%2F", b"/%00%ff%2F", None),
        (b"/?%aF", b"/", b"%aF"),
    ],
)
def test_origin_form(target: bytes, path: bytes, query: bytes | None) -> None:
    match = ORIGIN_FORM.fullmatch(target)
    assert match
    assert match.groups() == (path, query)


@pytest.mark.parametrize("form", [b"/%b", b"/a%b", b"http://a/%b", b"http://%b/"])
@pytest.mark.parametrize("encoding", [b"%", b"%a", b"%g0", b"%0g", b"%%", b"%-1", b"%0x", b"% 0", b"%u0041"])
def test_malformed_percent_encoding_is_refused(form: bytes, encoding: bytes) -> None:
    assert not ORIGIN_FORM.fullmatch(form % encoding)
    assert not ABSOLUTE_FORM.fullmatch(form % encoding)


@pytest.mark.parametrize("query", [b"%", b"q=100%", b"%a", b"%zz=1", b"%%", b"q=%u00e9&b", b"%C3%"])
def test_a_percent_sign_in_a_query_need_not_encode(query: bytes) -> None:
    """Browsers send `?q=100%` as it is typed."""
    for form, pattern in ((b"/a?", ORIGIN_FORM), (b"http://a/?", ABSOLUTE_FORM)):
        match = pattern.fullmatch(form + query)
        assert match
        assert match.groups()[-1] == query


@pytest.mark.parametrize(
    ("target", "groups"),
    [
        (b"http://a", (b"a", None, None)),
        (b"HTTP://a/", (b"a", b"/", None)),
        (b"https://a:80/b?c", (b"a:80", b"/b", b"c")),
        (b"http://a?b", (b"a", None, b"b")),
        (b"http://[::1]:8080/", (b"[::1]:8080", b"/", None)),
    ],
)
def test_absolute_form(target: bytes, groups: tuple[bytes | None, ...]) -> None:
    match = ABSOLUTE_FORM.fullmatch(target)
    assert match
    assert match.groups() == groups


@pytest.mark.parametrize(
    "target",
    [
        b"http://",
        b"http:///a",
        b"http://:80/",
        b"http:/a",
        b"http:a",
        b"ftp://a/",
        b"xhttp://a/",
        b"http://u@a/",
        b"http://u:p@a/",
        b"http://a/#b",
        b"http://a b/",
        b"http://a:b/",
        b"http://a\\b/",
    ],
)
def test_other_absolute_forms_are_refused(target: bytes) -> None:
    assert not ABSOLUTE_FORM.fullmatch(target)


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        (b"a", b"a", b""),
        (b"a.example", b"a.example", b""),
        (b"a:", b"a", b":"),
        (b"a:0", b"a", b":0"),
        (b"a:65535", b"a", b":65535"),
        (b"a:99999", b"a", b":99999"),  # five digits; the parser compares with 65535
        (b"127.0.0.1:80", b"127.0.0.1", b":80"),
        (b"[::1]", b"[::1]", b""),
        (b"[::1]:", b"[::1]", b":"),  # an empty port is within the grammar (RFC 3986 section 3.2.3)
        (b"[::ffff:1.2.3.4]:80", b"[::ffff:1.2.3.4]", b":80"),
        (b"[v1.a:b]", b"[v1.a:b]", b""),
        (b"a_b", b"a_b", b""),
        (b"%41", b"%41", b""),
        (b"a!$&'()*+,;=~", b"a!$&'()*+,;=~", b""),
    ],
)
def test_host(host: bytes, name: bytes, port: bytes) -> None:
    match = HOST.fullmatch(host)
    assert match
    assert match.groups() == (name, port)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b":80",
        b"a:b",
        b"a:80:80",
        b"a:+80",
        b"a:-1",
        b"a: 80",
        b"a:123456",
        b"a b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a@b",
        b"a\tb",
        b"a\x00",
        b"a\xe9",
        b'"a"',
        b"a\\b",
        b"<a>",
        b"::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[::1]a",
        b"a[::1]",
        b"[g::1]",
        b"[::1%25eth0]",
        b"[v.a]",
        b"[v1.]",
        b"[[::1]]",
        b"%4",
        b"%zz",
    ],
)
def test_malformed_host_is_refused(host: bytes) -> None:
    assert not HOST.fullmatch(host)


# --- Framing. ---


@pytest.mark.parametrize("value", [b"0", b"5", b"007", b"9" * 18])
def test_content_length(value: bytes) -> None:
    assert CONTENT_LENGTH.fullmatch(value)


@pytest.mark.parametrize(
    "value",
    [b"", b"+5", b"-5", b" 5", b"5 ", b"1_0", b"0x5", b"5.0", b"5e1", b"5,5", b"\xb2", b"a", b"9" * 19, b"1" * 5000],
)
def test_anything_but_digits_is_no_content_length(value: bytes) -> None:
    assert not CONTENT_LENGTH.fullmatch(value)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"0", b"0"),
        (b"aF9", b"aF9"),
        (b"000000000000005", b"000000000000005"),
        (b"5;a", b"5"),
        (b"5;a=b", b"5"),
        (b"5 ;\ta\t= b", b"5"),
        (b"5;a=b;c;d=e", b"5"),
        (b'5;a="b"', b"5"),
        (b'5;a="b;c=\\"d\\\\"', b"5"),
        (b'5;a=""', b"5"),
        (b'5;a="\t \xe9"', b"5"),
    ],
)
def test_chunk_line(line: bytes, size: bytes) -> None:
    match = CHUNK_LINE.fullmatch(line)
    assert match
    assert match[1] == size


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" 5",
        b"5 ",
        b"+5",
        b"-5",
        b"0x5",
        b"5h",
        b"g",
        b"5_0",
        b"5.0",
        b"5,5",
        b"0000000000000005",
        b"5 5",
        b"5;",
        b"5;;a",
        b"5;a;",
        b"5;=b",
        b"5;a=",
        b"5;a b",
        b"5;a=b c",
        b"5;a ",
        b'5;a="b',
        b'5;a=b"',
        b'5;a="b"c',
        b'5;a="\\',
        b'5;"a"=b',
        b'5;a="b\x00"',
        b'5;a="\\\x7f"',
        b"5;a=\xe9",
        b"5:a",
        b"5\r",
        b"\xb2",
    ],
)
def test_malformed_chunk_line_is_refused(line: bytes) -> None:
    assert not CHUNK_LINE.fullmatch(line)


# --- Cost. ---

# What makes backtracking patterns slow: long runs of what several alternatives take, broken off at the end.
HOSTILE = {
    "letters": (b"", b"a", b"\x00"),
    "white space": (b"a:", b" \t", b"\x00"),
    "white space before a value": (b"5", b" ", b"a"),
    "percents": (b"/", b"%", b""),
    "encodings": (b"/", b"%41", b"%4"),
    "slashes": (b"/", b"/", b"\x7f"),
    "question marks": (b"/", b"?", b" "),
    "a target": (b"GET /", b"a", b" HTTP/1.x"),
    "spaces in a request line": (b"GET ", b" ", b" HTTP/1.1"),
    "an authority": (b"http://", b"a:1", b"/\x00"),
    "an authority of encodings": (b"http://", b"%41", b"@"),
    "brackets": (b"[", b":", b""),
    "an address": (b"[", b"0:", b"]x"),
    "a future address": (b"[v1.", b"a:", b""),
    "digits": (b"", b"1", b"x"),
    "extensions": (b"5", b";a", b"="),
    "extensions with values": (b"5", b";a=b", b"\x00"),
    "extensions with quotes": (b"5", b';a="b"', b'"'),
    "extensions with white space": (b"5", b" ; a = b", b" "),
    "an open quote": (b'5;a="', b'\\"', b""),
    "commas": (b"", b",", b"\x00"),
    "commas and spaces": (b"", b", ", b"\x00"),
    "list elements": (b"", b"a,", b"\x00"),
}


def cost(match: Callable[[bytes], object], text: bytes) -> float:
    """CPU seconds of one match; the best of several, since the machine has other things to do."""
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        match(text)
        best = min(best, time.thread_time() - begun)
    return best


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.slow
def test_no_pattern_can_be_made_slow(name: str, attack: str) -> None:
    before, repeated, after = HOSTILE[attack]
    pattern = PATTERNS[name]
    match = pattern.search if name == "FORBIDDEN" else pattern.fullmatch  # as they are used
    text = before + repeated * (HOSTILE_BYTES // len(repeated)) + after
    assert cost(match, text.decode("latin-1") if isinstance(pattern.pattern, str) else text) < HOSTILE_SECONDS_MAX
