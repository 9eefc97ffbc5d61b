"""The built-in page for an error, in the type that the client likes best."""

import json

import pytest

from mreactor.http import HTML, TEXT, HTTPError, render_error, render_traceback
from mreactor.http.negotiation import ELEMENTS_MAX, choose_type

OFFERS = ("text/html", "application/json", "text/plain")
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        (CHROME, "text/html"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json;charset=utf-8", "application/json"),
        ("application/*", "application/json"),
        ("text/plain", "text/plain"),
        ("text/*;q=0.5, application/json;q=0.6", "application/json"),
        ("text/html;q=0, */*", "application/json"),
        ("text/html;q=0.1, text/plain;q=0.2, application/json;q=0.15", "text/plain"),
        ("application/json, text/plain, */*", "text/html"),
        ("application/json;q=1.000, */*;q=0.5", "application/json"),
        ("application/json; q = 0.4 , text/plain; q=0.5", "text/plain"),
        ("image/png", "text/html"),
        ("text/html;q=0, application/json;q=0, text/plain;q=0", "text/html"),
        ("text/plain;q=7, application/json;q=0.5", "application/json"),
        (",,;;q,", "text/html"),
        ("\xff", "text/html"),
        ("a/b," * ELEMENTS_MAX + "application/json", "text/html"),
    ],
)
def test_the_best_type_is_chosen(accept: str, chosen: str) -> None:
    assert choose_type(accept, OFFERS) == chosen


def test_a_browser_gets_a_page_with_the_reason_escaped() -> None:
    page = render_error(HTTPError(404, "No <b> here."), CHROME)
    assert (page.status, page.content_type) == (404, HTML)
    assert b"<h1>404 Not Found</h1>" in page.body  # type: ignore[operator]
    assert b"<p>No &lt;b&gt; here.</p>" in page.body  # type: ignore[operator]


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
def test_an_api_client_gets_json(accept: str) -> None:
    page = render_error(HTTPError(413, "Too <big>.", (("X-A", "b"),)), accept)
    assert isinstance(page.body, bytes)
    assert json.loads(page.body) == {"status": 413, "title": "Content Too Large", "detail": "Too <big>."}
    assert (page.content_type, page.headers["X-A"], page.headers["Vary"]) == (accept, "b", "Accept")


def test_a_terminal_gets_text() -> None:
    page = render_error(HTTPError(400, "No."), "text/plain")
    assert (page.body, page.content_type) == (b"400 Bad Request\nNo.\n", TEXT)


def test_a_status_without_a_name_has_a_page() -> None:
    assert b"<h1>599</h1>" in render_error(HTTPError(599, "?")).body  # type: ignore[operator]
    assert b'"title":"Error"' in render_error(HTTPError(599, "?"), "application/json").body  # type: ignore[operator]


@pytest.mark.parametrize("accept", ["", "text/html", "application/json"])
def test_the_page_of_a_traceback_has_the_error_as_its_heading(accept: str) -> None:
    text = "TypeError: a <tuple>\nIt was returned by the handler."
    page = render_traceback("TypeError: a <tuple>", text, accept)
    assert page.status == 500
    if page.content_type == HTML:
        assert b"<h1>TypeError: a &lt;tuple&gt;</h1>\n<pre>TypeError: a &lt;tuple&gt;\nIt was" in page.body
    else:
        assert page.body == text.encode() + b"\n"
