"""The application as WSGI (PEP 3333). Standard library only, for Python 3.10 and later."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from . import work

Environment = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Fields = list[tuple[str, str]]
Answer = tuple[str, Fields, bytes]

TEXT = "text/plain; charset=utf-8"


def application(environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
    """Find the handler by the first segments of the path, call it, and send what it gives."""
    status, fields, body = respond(environ)
    start_response(status, [*fields, ("Content-Length", str(len(body)))] if status != "204 No Content" else fields)
    return [body]


def respond(environ: Environment) -> Answer:
    _, first, *rest = environ["PATH_INFO"].split("/")
    handlers = ROUTES.get((first, len(rest)))
    if handlers is None:
        return text("Not Found", "404 Not Found")
    handler = handlers.get(environ["REQUEST_METHOD"])
    if handler is None:
        return text("Method Not Allowed", "405 Method Not Allowed")
    return handler(environ, *rest)


def text(content: str, status: str = "200 OK", content_type: str = TEXT, more: Fields | None = None) -> Answer:
    return status, [("Content-Type", content_type), *(more or ())], content.encode()


def json_text(content: object) -> Answer:
    words = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return "200 OK", [("Content-Type", "application/json")], words.encode()


def query(environ: Environment) -> dict[str, str]:
    return dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))


def content(environ: Environment) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def search(environ: Environment) -> Answer:
    asked = query(environ)
    return text(work.tell_results(asked["q"], asked["page"]))


def order(environ: Environment) -> Answer:
    try:
        asked = json.loads(content(environ))
    except ValueError:
        return text("Bad Request", "400 Bad Request")
    return json_text(work.confirm(asked))


def login(environ: Environment) -> Answer:
    name = dict(parse_qsl(content(environ).decode()))["name"]
    cookie = f"session={name}; Path=/; HttpOnly; SameSite=Lax"
    return text(work.greet(name), more=[("Set-Cookie", cookie), ("Cache-Control", "no-store")])


def account(environ: Environment) -> Answer:
    if "HTTP_AUTHORIZATION" not in environ:
        return text("Unauthorized", "401 Unauthorized", more=[("WWW-Authenticate", "Bearer")])
    return json_text(work.profile("me"))


# By the first segment and the number of the others, then by method.
ROUTES: dict[tuple[str, int], dict[str, Callable[..., Answer]]] = {
    ("", 0): {"GET": lambda environ: text(work.WELCOME)},
    ("hello", 1): {"GET": lambda environ, name: text(work.greet(name))},
    ("search", 0): {"GET": search},
    ("session", 0): {"GET": lambda environ: text(work.tell_session(environ.get("HTTP_COOKIE", "")))},
    ("orders", 0): {"POST": order},
    ("orders", 1): {"DELETE": lambda environ, number: ("204 No Content", [], b"")},
    ("users", 1): {
        "GET": lambda environ, user: json_text(work.profile(user)),
        "PUT": lambda environ, user: json_text(work.rename(user, json.loads(content(environ)))),
    },
    ("users", 2): {"GET": lambda environ, user, _: json_text(work.orders(user, query(environ)["page"]))},
    ("pages", 1): {"GET": lambda environ, slug: text(work.html(slug), content_type="text/html; charset=utf-8")},
    ("login", 0): {"POST": login},
    ("account", 0): {"GET": account},
}
