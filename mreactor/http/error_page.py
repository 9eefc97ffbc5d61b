"""The built-in page for an error: the status and one sentence, as HTML, JSON (RFC 9457) or text. Pure functions."""

from html import escape

from .negotiation import choose_type
from .response import HTML, JSON, TEXT, Response
from .status import HTTPError, status_text

# The reason that clients are given where a handler has failed.
FAILED = "The server failed to answer this request."

PROBLEM = "application/problem+json"

_VARY = ("Vary", "Accept")
# The first is for clients that say nothing, or take anything.
_OFFERS = ("text/html", JSON, PROBLEM, "text/plain")


def render_error(error: HTTPError, accept: str = "") -> Response:
    """Render the page for an error in the type that the client likes best.

    Args:
        error: status, sentence and header fields.
        accept: the request's Accept field; empty if there is none.
    """
    title = status_text(error.status)
    # Most clients that are refused often say nothing or take anything. They need not wait for the choice.
    chosen = _OFFERS[0] if accept in ("", "*/*") else choose_type(accept, _OFFERS)
    content: str | dict[str, object]
    if chosen in (JSON, PROBLEM):
        content = {"status": error.status, "title": title[4:] or "Error", "detail": error.reason}
    elif chosen == "text/plain":
        content, chosen = f"{title}\n{error.reason}\n", TEXT
    else:
        chosen = HTML
        content = (
            f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n"
            f"<h1>{title}</h1>\n<p>{escape(error.reason)}</p>\n"
        )
    response = Response(content, error.status, error.headers, content_type=chosen)
    body, content_type, status, fields, _ = response.parts
    # This field needs no check.
    response.parts = (body, content_type, status, (*fields, _VARY), None)
    return response


def render_traceback(title: str, text: str, accept: str = "") -> Response:
    """Render the page for a handler that has failed, with its traceback. For its author, not for the public.

    Args:
        title: the error in one line.
        text: the traceback.
        accept: the request's Accept field.
    """
    if choose_type(accept, _OFFERS) == "text/html":
        page = (
            "<!doctype html>\n<html lang=en><meta charset=utf-8><title>500 Internal Server Error</title>\n"
            f"<h1>{escape(title)}</h1>\n<pre>{escape(text)}</pre>\n"
            "<p>This page is shown because the server runs with --debug.</p>\n"
        )
        return Response(page, 500, content_type=HTML)
    return Response(f"{text}\n", 500, content_type=TEXT)
