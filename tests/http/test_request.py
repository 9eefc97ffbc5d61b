"""Requests as handlers see them: query, form, JSON."""

import random
import tracemalloc
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qsl
from uuid import UUID

import pytest

from mreactor.config import Limits
from mreactor.http.request import FORM_FIELDS_MAX, STRAY_PERCENTS_MAX, Parameters, Request
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser

PEER = ("127.0.0.1", 50_000)
FORM = b"application/x-www-form-urlencoded"


def get(target: bytes = b"/") -> Request:
    raw = b"GET %b HTTP/1.1\r\nHost: example.org:81\r\nX-A: b\r\n\r\n" % target
    return Request(Parser(Limits()).parse(raw), b"", PEER)


def post(body: bytes, content_type: bytes | None = FORM) -> Request:
    field = b"" if content_type is None else b"Content-Type: %b\r\n" % content_type
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (field, len(body))
    return Request(Parser(Limits()).parse(raw), body, PEER)


def status_of(request: Request, name: str) -> int:
    with pytest.raises(HTTPError) as caught:
        getattr(request, name)
    return caught.value.status


def test_a_request_shows_its_head() -> None:
    request = get(b"/a%20b?c=d")
    assert request.method == "GET"
    assert request.target == "/a%20b?c=d"
    assert request.path == "/a b"
    assert request.host == "example.org:81"
    assert request.headers["x-a"] == "b"
    assert request.body == b""
    assert request.peer == PEER
    assert request.content_type == ""
    assert repr(request) == "<Request GET /a%20b?c=d>"


# --- Parameters. ---


def test_of_a_repeated_parameter_the_first_counts() -> None:
    parameters = Parameters([("a", "1"), ("b", "2"), ("a", "3")])
    assert parameters["a"] == "1"
    assert parameters.get_all("a") == ["1", "3"]
    assert dict(parameters) == {"a": "1", "b": "2"}
    assert len(parameters) == 2


def test_a_missing_parameter() -> None:
    parameters = Parameters([("a", "1")])
    assert parameters.get("b", "x") == "x"
    assert parameters.get_all("b") == []
    assert "b" not in parameters
    with pytest.raises(KeyError):
        parameters["b"]


def test_parameters_are_case_sensitive() -> None:
    assert "A" not in Parameters([("a", "1")])


def test_parameters_show_what_they_hold() -> None:
    assert repr(Parameters([("a", "1")])) == "Parameters([('a', '1')])"


# --- Query. ---


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"", {}),
        (b"?", {}),
        (b"?a=b", {"a": "b"}),
        (b"?a=", {"a": ""}),
        (b"?a", {"a": ""}),
        (b"?a=b=c", {"a": "b=c"}),
        (b"?=b", {"": "b"}),
        (b"?a=b&&c=d&", {"a": "b", "c": "d"}),
        (b"?a=b;c=d", {"a": "b;c=d"}),  # the semicolon separates nothing any more
        (b"?a+b=c+d", {"a b": "c d"}),
        (b"?a=%2B%26%3D%25", {"a": "+&=%"}),
        (b"?%61=%C3%A9", {"a": "\xe9"}),
        (b"?a=%00%0d%0a", {"a": "\0\r\n"}),
        (b"?a=%2541", {"a": "%41"}),  # decoded once
        (b"?a=b?c/d", {"a": "b?c/d"}),
        (b"?q=100%&u=%u00e9", {"q": "100%", "u": "%u00e9"}),
    ],
)
def test_query(query: bytes, fields: dict[str, str]) -> None:
    assert dict(get(b"/" + query).query) == fields


def test_a_query_is_decoded_once() -> None:
    request = get(b"/?a=b")
    assert request.query is request.query


@pytest.mark.parametrize("query", [b"a=%ff", b"%C3=a", b"a=%ED%A0%80", b"a=%C0%AF"])
def test_a_query_that_is_not_utf_8_is_refused(query: bytes) -> None:
    assert status_of(get(b"/?" + query), "query") == 400


def test_a_query_is_bounded_in_fields() -> None:
    at_bound = b"&".join([b"a"] * FORM_FIELDS_MAX)
    assert len(get(b"/?" + at_bound).query.get_all("a")) == FORM_FIELDS_MAX
    assert status_of(get(b"/?" + at_bound + b"&a"), "query") == 400


# --- Form. ---


@pytest.mark.parametrize(
    "content_type",
    [FORM, FORM.upper(), FORM + b"; charset=utf-8", FORM + b";charset=utf-8", FORM + b" ; charset=UTF-8"],
)
def test_form(content_type: bytes) -> None:
    request = post(b"a=b+c&d=%26", content_type)
    assert dict(request.form) == {"a": "b c", "d": "&"}
    assert request.form is request.form


@pytest.mark.parametrize("content_type", [None, b"", b"text/plain", b"multipart/mixed; boundary=x", FORM + b"x"])
def test_a_body_of_another_type_is_no_form(content_type: bytes | None) -> None:
    assert status_of(post(b"a=b", content_type), "form") == 415


def test_a_form_of_raw_utf_8_is_taken_as_such() -> None:
    """Strictly, a form is ASCII; whoever sends it raw means UTF-8 (the URL standard, urlencoded parsing)."""
    assert dict(post("n\xe9=\u20ac".encode()).form) == {"n\xe9": "\u20ac"}


@pytest.mark.parametrize("body", [b"a=\xff", b"\xe9=a", b"a=%ff", b"a=%C3&b=%A9"])
def test_a_form_that_is_not_utf_8_is_refused(body: bytes) -> None:
    assert status_of(post(body), "form") == 400


def test_a_form_is_bounded_in_fields() -> None:
    at_bound = b"&".join([b"a=b"] * FORM_FIELDS_MAX)
    assert len(post(at_bound).form.get_all("a")) == FORM_FIELDS_MAX
    assert status_of(post(at_bound + b"&a"), "form") == 400
    assert status_of(post(b"&" * 1_000_000), "form") == 400


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        (b"100%", "100%"),
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%zz%41", "%zzA"),
        (b"%u00e9", "%u00e9"),
        (b"%%34%31", "%41"),  # decoded once
        (b"%25%\r\n", "%%\r\n"),
        (b"==41=\n", "==41=\n"),
    ],
)
def test_a_percent_sign_that_encodes_nothing_stands_for_itself(encoded: bytes, decoded: str) -> None:
    assert dict(post(b"a=" + encoded).form) == {"a": decoded}


def test_fields_are_decoded_as_by_the_standard_library() -> None:
    chance = random.Random(5)
    for _ in range(5000):
        text = "".join(chance.choices("%%%%&&==++034z\xe9 \r\n\t;._", k=chance.randrange(20)))
        form = post(text.encode()).form
        expected = parse_qsl(text, keep_blank_values=True, errors="strict")
        assert [(name, value) for name in form for value in form.get_all(name)] == sorted(
            expected, key=lambda field: list(form).index(field[0])
        )


def test_a_form_of_escapes_costs_little_more_than_its_bytes() -> None:
    """The standard library makes an object of each: 16 MiB of them took half a gigabyte and three seconds."""
    encoded = b"a=" + b"%41" * 1_000_000
    request = post(encoded)
    tracemalloc.start()
    try:
        assert request.form["a"] == "A" * 1_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(encoded)


def test_percent_signs_that_encode_nothing_are_bounded() -> None:
    assert post(b"a=" + b"%" * STRAY_PERCENTS_MAX).form["a"] == "%" * STRAY_PERCENTS_MAX
    assert status_of(post(b"a=" + b"%" * (STRAY_PERCENTS_MAX + 1)), "form") == 400


# --- JSON. ---


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' [1, 2.5, true, null, "\\u00e9"] ', [1, 2.5, True, None, "\xe9"]),
        ('"\xe9"'.encode(), "\xe9"),
        (b"0", 0),
    ],
)
def test_json(body: bytes, value: object) -> None:
    assert post(body, None).json() == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b'"\xff"',
        b"nul",
        b"NaN",
        b"[-Infinity]",
        '"utf-16"'.encode("utf-16"),
        b"1 2",
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
    ],
    ids=lambda body: f"{body[:8]!r}{len(body)}",
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(HTTPError) as caught:
        post(body, b"application/json").json()
    assert caught.value.status == 400
    assert caught.value.reason.startswith("The body is not JSON: ")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (b"text/html", "text/html"),
        (b"TEXT/HTML; charset=utf-8", "text/html"),
        (b" text/html ;x", "text/html"),
        (b"", ""),
        (b";", ""),
    ],
)
def test_content_type(declared: bytes, expected: str) -> None:
    assert post(b"", declared).content_type == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("query", "The field 'x' is missing."),
        ("form", "The field 'x' is missing."),
        ("cookies", "The cookie 'x' is missing."),
    ],
)
def test_a_missing_field_is_a_key_error_and_a_400(name: str, text: str) -> None:
    parameters = getattr(post(b"a=1"), name)
    with pytest.raises(KeyError) as caught:
        parameters["x"]
    assert isinstance(caught.value, HTTPError)
    assert (caught.value.status, caught.value.reason) == (400, text)
    assert parameters.get("x") is None
    assert "x" not in parameters


# --- Conditions. ---


def conditional(method: str, *fields: str) -> Request:
    lines = "".join(f"{field}\r\n" for field in ("Host: a", "Content-Length: 0", *fields))
    return Request(Parser(Limits()).parse(f"{method} / HTTP/1.1\r\n{lines}\r\n".encode()), b"", PEER)


def test_check_returns_nothing_where_the_handler_has_to_respond() -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert conditional(method).check(etag='"a"', modified=5) is None
        assert conditional(method, 'If-None-Match: "b"', 'If-Match: "a"').check(etag='"a"', modified=5) is None
    assert conditional("GET").check() is None


def test_check_returns_the_304() -> None:
    request = conditional("GET", 'If-None-Match: "a"')
    response = request.check(etag='W/"a"', modified=784_111_777.9)
    assert response is not None
    assert (response.status, response.body) == (304, b"")
    assert response.headers == (("ETag", 'W/"a"'), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"))
    request = conditional("HEAD", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT")
    assert request.check(modified=784_111_778) is None
    response = request.check(modified=784_111_777)
    assert response is not None
    assert [name for name, _ in response.headers] == ["Last-Modified"]


@pytest.mark.parametrize(
    ("method", "field"),
    [("PUT", 'If-Match: "b"'), ("PUT", "If-None-Match: *"), ("DELETE", 'If-None-Match: "a"'), ("GET", 'If-Match: "b"')],
)
def test_check_refuses(method: str, field: str) -> None:
    with pytest.raises(HTTPError, match="412"):
        conditional(method, field).check(etag='"a"', modified=5)


@pytest.mark.parametrize("etag", ["a", '"a', 'a"', '"', "W/a", 'w/"a"'])
def test_check_wants_a_tag_with_quotes(etag: str) -> None:
    with pytest.raises(ValueError, match="quotes"):
        conditional("GET").check(etag=etag)


def test_state_is_the_application_s_and_made_when_it_is_used() -> None:
    request, other = get(), get()
    request.state.user = "ada"
    assert request.state.user == "ada"
    assert not hasattr(other.state, "user")
    assert not hasattr(get(), "_kept_state")


def test_a_field_as_another_type() -> None:
    query = get(b"/?page=7&price=1.5&name=x&page=8").query
    assert query.get_as("page", int) == 7
    assert query.get_as("price", Decimal, None) == Decimal("1.5")
    assert query.get_as("size", int, 20) == 20
    assert query.get_as("size", int, None) is None
    with pytest.raises(HTTPError, match="The field 'size' is missing"):
        query.get_as("size", int)


@pytest.mark.parametrize("convert", [int, Decimal, UUID, date.fromisoformat])
def test_a_field_that_cannot_be_converted_is_a_400(convert: Callable[[str], object]) -> None:
    with pytest.raises(HTTPError) as caught:
        get(b"/?name=x").query.get_as("name", convert, None)
    assert (caught.value.status, caught.value.reason) == (400, "The field 'name' cannot be 'x'.")
