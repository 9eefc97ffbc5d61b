"""The built-in page for an error: the status and one sentence, as HTML, JSON (RFC 9457) or text. A pure function."""

from html import escape

from .negotiation import choose_type
from .response import HTML, JSON, TEXT, Response
from .status import HTTPError, status_text

PROBLEM = "application/problem+json"

# The first is for clients that say nothing, or take anything.
_OFFERS = ("text/html", JSON, PROBLEM, "text/plain")


def render_error(error: HTTPError, accept: str = "") -> Response:
    """Render the page for an error in the type that the client likes best.

    Args:
        error: status, sentence and header fields.
        accept: the request's Accept field; empty if there is none.
    """
    title = status_text(error.status)
    chosen = choose_type(accept, _OFFERS)
    fields = (*error.headers, ("Vary", "Accept"))
    if chosen in (JSON, PROBLEM):
        problem = {"status": error.status, "title": title[4:] or "Error", "detail": error.reason}
        return Response(problem, error.status, fields, content_type=chosen)
    if chosen == "text/plain":
        return Response(f"{title}\n{error.reason}\n", error.status, fields, content_type=TEXT)
    page = (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n"
        f"<h1>{title}</h1>\n<p>{escape(error.reason)}</p>\n"
    )
    return Response(page, error.status, fields, content_type=HTML)
