"""Cookies: what is read of a request, what a response may set, and what browsers would refuse."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mreactor.http import Response
from mreactor.http.cookies import PAIR_BYTES_MAX, parse_cookies
from mreactor.testing import make_request


@pytest.mark.parametrize(
    ("field", "cookies"),
    [
        ("", []),
        ("a=1", [("a", "1")]),
        ("a=1; b=2", [("a", "1"), ("b", "2")]),
        ("a=1;b=2;", [("a", "1"), ("b", "2")]),
        (" a = 1 ;\tb=2", [("a", "1"), ("b", "2")]),
        ("a=b=c", [("a", "b=c")]),
        ('a="x y"; b="', [("a", "x y"), ("b", '"')]),
        ('a=""', [("a", "")]),
        ("a=", [("a", "")]),
        ("alone; =nameless; a=1", [("a", "1")]),
        ("a=1; a=2", [("a", "1"), ("a", "2")]),
        ("A=1; a=2", [("A", "1"), ("a", "2")]),
        ("a=\xe9", [("a", "\xe9")]),
    ],
)
def test_reads_a_cookie_field(field: str, cookies: list[tuple[str, str]]) -> None:
    assert parse_cookies(field) == cookies


def test_a_request_has_its_cookies_by_name() -> None:
    request = make_request(headers={"Cookie": "session=abc; theme=dark; session=old"})
    assert dict(request.cookies) == {"session": "abc", "theme": "dark"}
    assert request.cookies.get_all("session") == ["abc", "old"]
    assert dict(make_request().cookies) == {}


def rendered(*arguments: Any, **options: Any) -> str:
    response = Response()
    response.set_cookie(*arguments, **options)
    return response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a=1; Path=/; HttpOnly; SameSite=Lax"),
        ({"max_age": 60}, "a=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
        ({"path": "/x", "domain": "example.org"}, "a=1; Path=/x; Domain=example.org; HttpOnly; SameSite=Lax"),
        ({"secure": True, "same_site": "Strict"}, "a=1; Path=/; Secure; HttpOnly; SameSite=Strict"),
        ({"http_only": False}, "a=1; Path=/; SameSite=Lax"),
        ({"secure": True, "same_site": "None"}, "a=1; Path=/; Secure; HttpOnly; SameSite=None"),
        ({"secure": True, "partitioned": True}, "a=1; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned"),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)},
            "a=1; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))},
            "a=1; Expires=Wed, 02 Jan 2030 02:04:05 GMT; Path=/; HttpOnly; SameSite=Lax",
        ),
    ],
)
def test_renders_the_attributes(options: dict[str, Any], expected: str) -> None:
    assert rendered("a", "1", **options) == expected


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "\xe9", "a\n"])
def test_refuses_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name of a cookie"):
        rendered(name, "1")


@pytest.mark.parametrize("value", ["a b", "a;b", "a,b", 'a"b', "a\\b", "a\r\nX: y", "\xe9", "\0"])
def test_refuses_a_value_and_says_how_to_encode_it(value: str) -> None:
    with pytest.raises(ValueError, match=r"urllib\.parse\.quote"):
        rendered("a", value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a", {"same_site": "None"}, "secure=True"),
        ("a", {"partitioned": True}, "secure=True"),
        ("__Secure-a", {}, "secure=True"),
        ("__host-a", {}, "secure=True"),
        ("__Host-a", {"secure": True, "path": "/x"}, "a path other than /"),
        ("__Host-a", {"secure": True, "domain": "example.org"}, "with a domain"),
        ("a", {"same_site": "lax"}, "not one of Strict, Lax, None"),
        ("a", {"path": "x"}, "path"),
        ("a", {"path": "/;Secure"}, "path"),
        ("a", {"path": "/" + "x" * 2000}, "path"),
        ("a", {"domain": "a;b"}, "domain"),
        ("a", {"expires": datetime(2030, 1, 1)}, "time zone"),
    ],
)
def test_refuses_what_browsers_would(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rendered(name, "1", **options)


def test_the_longest_cookie_is_that_of_the_standard() -> None:
    assert rendered("a", "x" * (PAIR_BYTES_MAX - 1))
    with pytest.raises(ValueError, match="4096"):
        rendered("a", "x" * PAIR_BYTES_MAX)


def test_cookies_are_set_side_by_side_and_deleted() -> None:
    response = Response("x")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.delete_cookie("c", path="/x")
    response.delete_cookie("__Host-d")
    assert response.headers.get_all("set-cookie") == [
        "a=1; Path=/; HttpOnly; SameSite=Lax",
        "b=2; Path=/; HttpOnly; SameSite=Lax",
        "c=; Max-Age=0; Path=/x; HttpOnly; SameSite=Lax",
        "__Host-d=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
    ]
