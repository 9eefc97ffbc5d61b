"""The header fields of a response by name: read, set, added, removed, and checked each time."""

import pytest

from mreactor.http import Response


def test_fields_are_read_in_any_case() -> None:
    response = Response("x", headers=[("X-A", "1"), ("x-a", "2"), ("X-B", "3")])
    headers = response.headers
    assert (headers["x-A"], headers.get_all("X-a"), headers.get("x-c"), headers.get("x-c", "-")) == (
        "1",
        ["1", "2"],
        None,
        "-",
    )
    assert "X-B" in headers
    assert "x-c" not in headers
    assert 1 not in headers
    assert list(headers) == [("X-A", "1"), ("x-a", "2"), ("X-B", "3")]
    assert (len(headers), headers[0], headers[1:]) == (3, ("X-A", "1"), (("x-a", "2"), ("X-B", "3")))


def test_a_field_is_set_in_place_of_its_namesakes() -> None:
    response = Response("x", headers=[("X-A", "1"), ("x-a", "2"), ("X-B", "3")])
    headers = response.headers
    headers["X-a"] = "4"
    assert headers == (("X-B", "3"), ("X-a", "4"))
    assert response.headers == headers
    assert response.parts[4] is None


def test_a_field_is_added_behind_the_others() -> None:
    response = Response("x")
    response.headers.add("Link", "</a>")
    response.headers.add("Link", "</b>")
    assert response.headers.setdefault("link", "no") == "</a>"
    assert response.headers.setdefault("Vary", "Cookie") == "Cookie"
    assert response.headers == (("Link", "</a>"), ("Link", "</b>"), ("Vary", "Cookie"))


def test_a_field_is_removed() -> None:
    response = Response("x", headers=[("X-A", "1"), ("x-a", "2")])
    del response.headers["X-A"]
    assert response.headers == ()
    assert response.parts[4] == b"x", "it may be sent the fast way again"
    with pytest.raises(KeyError):
        del response.headers["X-A"]
    with pytest.raises(KeyError):
        response.headers["X-A"]


def test_content_type_among_them_is_the_only_one() -> None:
    response = Response("x")
    response.headers["Content-Type"] = "text/x"
    assert response.content_type == ""


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("X-A", "a\r\nb", ValueError), ("X A", "b", ValueError), ("Date", "b", ValueError), ("X-A", 1, TypeError)],
)
def test_what_cannot_be_sent_is_refused_and_changes_nothing(name: str, value: str, error: type[Exception]) -> None:
    response = Response("x", headers={"X-B": "1"})
    with pytest.raises(error):
        response.headers[name] = value
    with pytest.raises(error):
        response.headers.add(name, value)
    assert response.headers == (("X-B", "1"),)


def test_a_copy_has_fields_of_its_own() -> None:
    response = Response("x", 201, {"X-A": "1"}, content_type="text/x")
    copied = response.copy()
    copied.headers["X-A"] = "2"
    assert (response.headers["X-A"], copied.headers["X-A"]) == ("1", "2")
    assert (copied.body, copied.status, copied.content_type) == (b"x", 201, "text/x")
