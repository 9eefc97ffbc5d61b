"""Responses: what handlers may return, what is refused, and the bytes that come of it."""

import os
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from mreactor.http.response import (
    BINARY,
    FRAMING_FIELDS,
    HTML,
    JSON,
    TEXT,
    Response,
    check_fields,
    encode_fields,
    encode_part,
    respond,
)
from mreactor.http.status import REASONS, HTTPError, has_body, status_line
from mreactor.protocol import FileBody

# --- Content. ---


@pytest.mark.parametrize(
    ("content", "body", "content_type"),
    [
        (None, b"", ""),
        ("", b"", TEXT),
        ("h\xe9", b"h\xc3\xa9", TEXT),
        (b"", b"", BINARY),
        (b"\x00", b"\x00", BINARY),
        (bytearray(b"ab"), b"ab", BINARY),
        (memoryview(b"ab"), b"ab", BINARY),
        ({}, b"{}", JSON),
        ({"a": [1, None, "\xe9"]}, b'{"a":[1,null,"\xc3\xa9"]}', JSON),
        ([], b"[]", JSON),
        ([1, {"b": 2.5}], b'[1,{"b":2.5}]', JSON),
    ],
)
def test_content_becomes_bytes_and_a_type(content: Any, body: bytes, content_type: str) -> None:
    response = Response(content)
    assert response.body == body
    assert type(response.body) is bytes
    assert response.content_type == content_type


def test_a_buffer_is_copied() -> None:
    """It goes out later; what the handler does to its buffer until then must not go out with it."""
    buffer = bytearray(b"ab")
    response = Response(buffer)
    buffer[:] = b"xy"
    assert response.body == b"ab"


def test_an_iterator_is_streamed() -> None:
    def parts() -> Iterator[bytes | str]:
        yield b"a"
        yield "b"

    response = Response(parts())
    assert isinstance(response.body, Iterator)
    assert list(response.body) == [b"a", "b"]
    assert response.content_type == BINARY
    assert isinstance(Response(map(str, (1, 2))).body, Iterator)


@pytest.mark.parametrize(
    ("part", "encoded"), [("\xe9", b"\xc3\xa9"), (b"a", b"a"), (bytearray(b"b"), b"b"), (memoryview(b"c"), b"c")]
)
def test_encode_part(part: Any, encoded: bytes) -> None:
    assert encode_part(part, iter([part])) == encoded


def test_a_part_that_cannot_be_sent_leads_to_its_generator() -> None:
    def rows() -> Iterator[Any]:
        yield {"a": 1}

    parts = rows()
    name = re.escape(f"{rows.__qualname__} ({__file__}, line {rows.__code__.co_firstlineno})")
    with pytest.raises(
        TypeError, match=f"^a part of a stream must be a str or bytes, not a dict; it comes from {name}$"
    ):
        encode_part(next(parts), parts)
    for part in (1, None, True, [b"a"], ("a",)):
        with pytest.raises(TypeError, match=f"not an? {type(part).__name__}; it comes from <map object"):
            encode_part(part, map(int, ()))


def test_a_file_stays_a_file() -> None:
    body = FileBody(-1, 0, 5)
    assert Response(body).body is body


@pytest.mark.parametrize("content", [5, 2.5, True, object(), len])
def test_other_content_is_refused(content: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(content).__name__}; it returns str, bytes, a dict, list or dataclass"):
        Response(content)


async def coroutine() -> str:
    return "x"


async def async_generator() -> Any:
    yield "x"


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: ("there is no such thing", 404), r"a tuple; .* Response\(content, status, headers\)"),
        (lambda: ({"id": 1}, 201), r"a tuple; .* Response\(content, status, headers\)"),
        (lambda: {1, 2}, r"a set; write list\(...\)"),
        (lambda: {"a": 1}.keys(), r"a dict_keys; write list\(...\)"),
        (lambda: {"a": 1}.values(), r"a dict_values; write list\(...\)"),
        (lambda: range(3), r"a range; write list\(...\)"),
        (lambda: array("b"), r"an array; write list\(...\)"),
        (lambda: deque([b"a"]), r"a deque; .* or iter\(...\) to stream"),
        (coroutine, "a coroutine; write a plain function"),
        (async_generator, "an async_generator; write a plain function"),
        (lambda: HTTPStatus, "an EnumType; return an instance"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_type_that_cannot_be_sent_is_refused_with_advice(make: Callable[[], Any], advice: str) -> None:
    """A tuple would be a stream of its items, with status 200: what users of Flask return for a 404."""
    with pytest.raises(TypeError, match=f"^a handler cannot return {advice}"):
        respond(make())


def test_a_value_that_cannot_be_sent_leads_to_its_handler() -> None:
    def report(request: object) -> object:
        return ("x", 404)

    for result in (("x", 404), {"a": object()}, "\ud800"):
        with pytest.raises((TypeError, ValueError)) as caught:
            respond(result, report)
        assert caught.value.__notes__ == [
            f"It was returned by the handler {report.__qualname__} ({__file__}, line {report.__code__.co_firstlineno})."
        ]


@pytest.mark.parametrize("content", [{"a": float("nan")}, [float("inf")], "\ud800"])
def test_content_that_cannot_be_encoded_is_refused(content: Any) -> None:
    with pytest.raises(ValueError):
        Response(content)


def test_a_content_type_may_be_given() -> None:
    assert Response("<p>", content_type=HTML).content_type == HTML


def test_respond_takes_a_response_as_it_is() -> None:
    response = Response("a")

    class Special(Response):
        pass

    special = Special("b")
    assert respond(response) is response
    assert respond(special) is special
    assert respond("c").body == b"c"
    assert respond(None).body == b""


# --- Status. ---


@pytest.mark.parametrize("status", [-1, 0, 100, 101, 199, 600, 1000])
def test_a_status_that_is_no_response_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        Response(None, status)


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 599])
def test_a_status_that_is_a_response_is_taken(status: int) -> None:
    assert Response(None, status).status == status


@pytest.mark.parametrize("status", [-1, 0, 200, 304, 399, 600])
def test_an_error_with_the_status_of_none_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        HTTPError(status)


def test_an_error_says_what_it_is() -> None:
    assert HTTPError(404).reason == "Not Found"
    assert HTTPError(404, "Gone fishing.").reason == "Gone fishing."
    assert HTTPError(599).reason == "Error"
    assert HTTPError(405, headers=(("Allow", "GET"),)).headers == (("Allow", "GET"),)
    assert str(HTTPError(404, "Gone fishing.")) == "(404, 'Gone fishing.')"


@pytest.mark.parametrize("status", [status.value for status in HTTPStatus if status >= 200])
def test_each_known_status_has_a_line(status: int) -> None:
    assert status_line(status) == f"HTTP/1.1 {status} {REASONS[status]}\r\n".encode()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (413, b"HTTP/1.1 413 Content Too Large\r\n"),
        (414, b"HTTP/1.1 414 URI Too Long\r\n"),
        (422, b"HTTP/1.1 422 Unprocessable Content\r\n"),
        (299, b"HTTP/1.1 299 \r\n"),  # the space stays where there is no reason (RFC 9112 section 4)
    ],
)
def test_status_line(status: int, line: bytes) -> None:
    assert status_line(status) == line


def test_which_statuses_have_no_content() -> None:
    """1xx, 204 and 304 cannot (RFC 9112 section 6.3), 205 must not (RFC 9110 section 15.3.6)."""
    assert [status for status in range(100, 600) if not has_body(status)] == [*range(100, 200), 204, 205, 304]


# --- Fields. ---

BAD_NAMES = [
    "",
    " ",
    "X Y",
    "X:",
    ":X",
    "X\r",
    "X\n",
    "X\r\nY",
    "X\x00",
    "X\t",
    "X\x7f",
    "X(",
    "X\xe9",
    "\u0130",
    "X\u2028",
    "\uff38",
]
BAD_VALUES = [
    "a\r",
    "a\n",
    "\r\nSet-Cookie: a=b",
    "a\r\n\r\nb",
    "\n b",
    "a\x00b",
    "\x00",
    "a\x0bb",
    "a\x0cb",
    "a\x1bb",
    "a\x7fb",
    "\u0100",
    "a\u010ab",  # its low byte is a line feed
    "a\u010db",
    "\u560a",
    "\u2028",
    "\U0001f600",
    "\ud800",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Response(None, headers={name: "a"})


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_value_that_could_end_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Response(None, headers={"X": value})
    with pytest.raises(ValueError, match="cannot be sent"):
        Response(None, headers=[("X", "a"), ("Y", value)])
    with pytest.raises(ValueError, match="cannot be sent"):
        Response(None, content_type=value)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X-Count": 3}, "the value of X-Count must be a str, not an int: 3"),
        ([("X-A", "b"), ("X-B", b"c")], "the value of X-B must be a str, not a bytes: b'c'"),
        ({"X-None": None}, "the value of X-None must be a str, not a NoneType: None"),
        ({b"X-A": "b"}, "the name of a header field must be a str, not a bytes: b'X-A'"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(headers: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        Response(None, headers=headers)


def test_each_control_character_is_refused() -> None:
    for code in (*range(9), *range(10, 32), 127):
        with pytest.raises(ValueError):
            check_fields({"X": f"a{chr(code)}b"})


@pytest.mark.parametrize("value", ["", " ", "a", "a\tb", "h\xe9", "\x80\xff", 'a: b; c="d"', "x" * 5000])
def test_other_values_are_sent_as_they_are(value: str) -> None:
    assert encode_fields(Response(None, headers={"X": value})) == f"X: {value}\r\n".encode("latin-1")


@pytest.mark.parametrize("name", sorted(FRAMING_FIELDS))
def test_only_the_server_sets_framing_fields(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        with pytest.raises(ValueError, match="set by the server"):
            Response(None, headers={spelling: "1"})


def test_fields_come_as_mapping_or_pairs_and_stay_in_order() -> None:
    pairs = [("Set-Cookie", "a=b"), ("X", "y"), ("Set-Cookie", "c=d")]
    assert Response(None, headers=pairs).headers == tuple(pairs)
    assert Response(None, headers=iter(pairs)).headers == tuple(pairs)
    mapping: Mapping[str, str] = {"X": "y"}
    assert Response(None, headers=mapping).headers == (("X", "y"),)
    assert Response(None).headers == ()


def test_fields_are_a_line_each() -> None:
    response = Response("a", headers=[("X", "y"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")])
    assert encode_fields(response) == (
        b"X: y\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Type: text/plain; charset=utf-8\r\n"
    )


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
def test_a_content_type_among_the_headers_is_the_only_one(name: str) -> None:
    encoded = encode_fields(Response("<p>", headers={name: "text/html"}))
    assert encoded.lower() == b"content-type: text/html\r\n"


def test_a_content_type_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Response("<p>", headers={"Content-Type": HTML}, content_type=HTML)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_no_content_has_no_type(status: int) -> None:
    assert encode_fields(Response("a", status, {"X": "y"})) == b"X: y\r\n"


class Label(str, Enum):  # noqa: UP042 - a StrEnum is a plain string when it is formatted, and this is not
    """Text that is checked as one thing and prints as another."""

    A = "text/a"

    def __str__(self) -> str:
        return "text/a\r\nSet-Cookie: b"

    __format__ = Enum.__format__


def test_the_checked_value_is_the_value_sent() -> None:
    assert encode_fields(Response("a", content_type=Label.A)) == b"Content-Type: text/a\r\n"
    fields = encode_fields(Response(None, headers={"X": Label.A}))
    assert fields == b"X: text/a\r\n"


class Code(int, Enum):
    TEA = 418


def test_a_status_is_a_number() -> None:
    response = Response("a", Code.TEA)
    assert type(response.status) is int
    assert response.status == 418
    for status in (404.0, "404", None):
        with pytest.raises(TypeError):
            Response("a", status)  # type: ignore[arg-type]


# --- Files. ---


def test_a_file_body_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    body = FileBody(os.open(path, os.O_RDONLY), 2, 6)
    assert len(body) == 6
    body.advance(4)
    assert (body.offset, body.remaining, len(body)) == (6, 2, 2)
    body.close()


def test_a_file_body_is_closed_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    body = FileBody(fd, 0, 0)
    body.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    body.close()
    assert body.fd == -1


# --- Changing a response that was made. ---


def test_what_is_set_later_is_sent() -> None:
    response = Response("text")
    assert response.parts[4] == b"text"
    response.status, response.headers, response.content_type = 201, {"X-A": "b"}, "text/x"
    assert (response.status, response.headers, response.content_type) == (201, (("X-A", "b"),), "text/x")
    assert response.parts[4] is None
    response.headers = {"Content-Type": "text/y"}
    assert response.content_type == "", "it stands among the fields"


@pytest.mark.parametrize(
    ("name", "value"), [("body", b"other"), ("status", 404), ("headers", (("X-A", "b"),)), ("content_type", "text/x")]
)
def test_one_part_that_is_set_later_leaves_the_others(name: str, value: object) -> None:
    response = Response("text")
    parts = {"body": b"text", "status": 200, "headers": (), "content_type": TEXT}
    setattr(response, name, value)
    assert response.parts[4] == (response.body if name in {"body", "content_type"} else None)
    assert {part: getattr(response, part) for part in parts} == {**parts, name: value}


@pytest.mark.parametrize(
    ("response", "plain"),
    [
        (Response(), (b"", "")),
        (Response(b"ab"), (b"ab", "application/octet-stream")),
        (Response("ab", content_type="text/x"), (b"ab", "text/x")),
        (Response({"a": 1}), (b'{"a":1}', "application/json")),
        (Response("ab", 201), None),
        (Response("ab", headers={"X-A": "b"}), None),
        (Response(iter([b"a"])), None),
    ],
    ids=["empty", "bytes", "a type of its own", "json", "a status", "fields", "a stream"],
)
def test_which_responses_are_body_only(response: Response, plain: tuple[bytes, str] | None) -> None:
    assert (response.parts[4], response.content_type if plain else "") == (plain or (None, ""))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", 99),
        ("status", 600),
        ("headers", {"X-A": "b\r\nX-C: d"}),
        ("headers", {"Content-Length": "1"}),
        ("headers", (("X A", "b"),)),
        ("content_type", "text/plain\r\nX-C: d"),
    ],
)
def test_what_is_set_later_is_checked(name: str, value: object) -> None:
    response = Response("text")
    with pytest.raises(ValueError):
        setattr(response, name, value)
    assert (response.status, response.headers, response.content_type) == (200, (), TEXT)


@pytest.mark.parametrize("content", ["abc", b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_a_body_that_is_set_later_is_whatever_content_may_be(content: Any) -> None:
    response = Response({"a": 1})
    response.body = content
    assert type(response.body) is bytes
    assert (response.body, response.content_type) == (b"abc", "application/json")
    with pytest.raises(TypeError):
        response.body = object()  # type: ignore[assignment]
    assert response.body == b"abc"


def test_the_content_type_is_not_set_twice() -> None:
    response = Response("text", headers={"Content-Type": "text/x"})
    with pytest.raises(ValueError, match="twice"):
        response.content_type = "text/y"
