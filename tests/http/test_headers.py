"""Header fields as handlers see them."""

from collections.abc import Mapping
from http.cookies import SimpleCookie

import pytest

from mreactor.http.headers import SINGLE_FIELDS, Headers

HEADERS = Headers((("host", "a"), ("x", "b"), ("accept", "c"), ("x", "d, e"), ("x", "")))


@pytest.mark.parametrize("name", ["accept", "Accept", "ACCEPT"])
def test_names_are_found_in_any_case(name: str) -> None:
    assert HEADERS[name] == "c"
    assert HEADERS.get(name) == "c"
    assert HEADERS.get_all(name) == ["c"]
    assert name in HEADERS


def test_repeated_fields_are_joined() -> None:
    assert HEADERS["x"] == "b, d, e, "
    assert HEADERS.get_all("X") == ["b", "d, e", ""]


def test_cookies_are_joined_as_one_cookie_field_would_hold_them() -> None:
    """Proxies unpack a cookie that HTTP/2 has split into one line for each part."""
    headers = Headers((("cookie", "a=1; s=xyz"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")))
    assert headers["Cookie"] == "a=1; s=xyz; b=2; c=3"
    assert {name: morsel.value for name, morsel in SimpleCookie(headers["cookie"]).items()} == {
        "a": "1", "s": "xyz", "b": "2", "c": "3",
    }  # fmt: skip
    assert headers.get_all("cookie") == ["a=1; s=xyz", "b=2", "c=3"]


@pytest.mark.parametrize("name", sorted(SINGLE_FIELDS))
def test_of_a_field_that_holds_one_value_the_first_counts(name: str) -> None:
    headers = Headers(((name, "Basic YTpi"), ("x", "y"), (name, "Bearer zzz")))
    assert headers[name] == headers.get(name) == "Basic YTpi"
    assert headers.get_all(name) == ["Basic YTpi", "Bearer zzz"]


def test_a_missing_field() -> None:
    assert "y" not in HEADERS
    assert HEADERS.get("y") is None
    assert HEADERS.get("y", "z") == "z"
    assert HEADERS.get_all("y") == []
    with pytest.raises(KeyError):
        HEADERS["y"]


def test_they_are_a_mapping_in_the_order_received() -> None:
    assert isinstance(HEADERS, Mapping)
    assert list(HEADERS) == ["host", "x", "accept"]
    assert len(HEADERS) == 3
    assert dict(HEADERS) == {"host": "a", "x": "b, d, e, ", "accept": "c"}
    assert Headers((("host", "a"),)) == {"host": "a"}


def test_none_at_all() -> None:
    assert not Headers()
    assert list(Headers().items()) == []


def test_they_cannot_be_changed() -> None:
    """Requests whose header bytes are equal share them."""
    with pytest.raises(TypeError):
        HEADERS["x"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        HEADERS.other = "y"  # type: ignore[attr-defined]


def test_they_show_what_they_hold() -> None:
    assert repr(Headers((("host", "a"),))) == "Headers((('host', 'a'),))"
