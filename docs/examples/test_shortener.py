"""Tests of the link shortener, as its author writes them: `pytest test_shortener.py`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import shortener

from mreactor.testing import Client


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.chdir(tmp_path)
    shortener.local.__dict__.clear()
    with Client(shortener.app) as client:
        yield client
    shortener.database().close()


@pytest.fixture
def user(client: Client) -> Client:
    assert client.post("/login", form={"password": "secret"}).status == 303
    return client


def test_a_stranger_gets_a_page_with_the_login(client: Client) -> None:
    response = client.get("/")
    assert (response.status, response.content_type) == (401, "text/html")
    assert "action=/login" in response.text
    assert response.headers["content-security-policy"] == "default-src 'self'"


def test_the_first_login_sets_the_password(user: Client) -> None:
    assert user.post("/login", form={"password": "other"}).status == 403
    assert user.post("/login", form={"password": "secret"}).status == 303
    assert user.get("/").status == 200


def test_a_link_is_followed_and_counted(user: Client) -> None:
    assert user.post("/links", form={"name": "a", "url": "https://example.org/?q=1"}).headers["location"] == "/"
    for _ in range(2):
        response = user.get("/a")
        assert (response.status, response.headers["location"]) == (302, "https://example.org/?q=1")
    assert user.get("/api/links").json() == [{"name": "a", "url": "https://example.org/?q=1", "visits": 2}]
    assert "https://example.org/?q=1: 2 visits" in user.get("/").text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"name": "a", "url": "javascript:alert(1)"}, 422),
        ({"name": "a b", "url": "https://example.org"}, 422),
        ({"name": "taken", "url": "https://example.org"}, 409),
        ({}, 422),
    ],
)
def test_a_wrong_link_is_refused(user: Client, form: dict[str, str], status: int) -> None:
    user.post("/links", form={"name": "taken", "url": "https://example.org"})
    assert user.post("/links", form=form).status == status
    assert len(user.get("/api/links").json()) == 1


def test_csv_goes_in_and_out(user: Client) -> None:
    table = 'name,url\na,https://a.example/\nb,"https://b.example/?x=1,2"\n'
    assert user.post("/import", files={"links": ("links.csv", table.encode(), "text/csv")}).status == 303
    response = user.get("/links.csv")
    assert response.text == 'name,url,visits\r\na,"https://a.example/",0\r\nb,"https://b.example/?x=1,2",0\r\n'
    assert response.headers["content-disposition"] == 'attachment; filename="links.csv"'
    assert user.post("/import", files={"links": ("links.csv", table.encode())}).status == 409
    assert user.post("/import", files={"other": ("x", b"")}).status == 400
    assert user.post("/import", files={"links": ("x", b"\xff")}).status == 400


def test_the_api_speaks_json_throughout(client: Client, user: Client) -> None:
    created = user.post("/api/links", json={"name": "a", "url": "https://example.org"})
    assert (created.status, created.headers["location"]) == (201, "/a")
    assert created.json() == {"name": "a", "url": "https://example.org", "visits": 0}
    for response, status in (
        (user.post("/api/links", json={"nam": "a"}), 422),
        (user.post("/api/links", body=b"{"), 400),
        (user.get("/api/nothing"), 404),
        (user.delete("/api/links"), 405),
        (Client(shortener.app).get("/api/links"), 401),
    ):
        assert response.status == status
        assert list(response.json()) == ["error"]
