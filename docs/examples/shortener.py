"""A link shortener: pages with forms and a login, CSV in and out, a JSON API, and a database.

The database is the file `links.sqlite3` in the current directory. The first login sets the password. Start the server:

    mreactor shortener:app

Send requests:

    $ curl -s http://127.0.0.1:8080/api/links
    {"error":"Log in first."}

    $ curl -i -d 'password=secret' http://127.0.0.1:8080/login
    HTTP/1.1 303 See Other
    Location: /

    $ curl -s http://127.0.0.1:8080/unknown
    <!doctype html>
    <title>Links</title>
    <h1>404</h1>
    <p>There is no link unknown.</p>

    $ curl -s -H 'Accept: application/json' -X POST http://127.0.0.1:8080/links
    {"error":"Log in first."}
"""

import csv
import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from mreactor import HTML, App, HTTPError, Request, Response, redirect

SCHEMA = """
CREATE TABLE IF NOT EXISTS links (name TEXT PRIMARY KEY, url TEXT NOT NULL, visits INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
COLUMNS = "SELECT name, url, visits FROM links"

app = App()
api = App()
local = threading.local()


@dataclass
class Link:
    name: str
    url: str
    visits: int = 0


def database() -> sqlite3.Connection:
    """Return the connection of the calling thread. SQLite connections do not cross threads."""
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect("links.sqlite3", timeout=5)
    connection: sqlite3.Connection = local.connection
    return connection


@app.on_start
def create_tables() -> None:
    database().executescript(SCHEMA)


def digest(password: str, salt: str) -> str:
    return salt + hashlib.scrypt(password.encode(), salt=salt.encode(), n=2**14, r=8, p=1).hex()


def check_login(request: Request) -> None:
    session = request.cookies.get("session", "")
    if database().execute("SELECT 1 FROM sessions WHERE id = ?", (session,)).fetchone() is None:
        raise HTTPError(401, "Log in first.", (("WWW-Authenticate", "Cookie"),))


def add_links(links: list[Link]) -> None:
    for link in links:
        if not link.name.isalnum() or not link.url.startswith(("http://", "https://")):
            raise HTTPError(422, f"{link.name!r} is not a name, or {link.url!r} is not a URL.")
    try:
        with database() as connection:  # commits, or rolls back on an exception
            rows = [(link.name, link.url) for link in links]
            connection.executemany("INSERT INTO links (name, url) VALUES (?, ?)", rows)
    except sqlite3.IntegrityError:
        raise HTTPError(409, "One of the names is taken.") from None


def page(title: str, body: str, status: int = 200) -> Response:
    return Response(f"<!doctype html>\n<title>Links</title>\n<h1>{title}</h1>\n{body}\n", status, content_type=HTML)


# Pages.


@app.get("/", blocking=True)
def overview(request: Request) -> Response:
    check_login(request)
    rows = database().execute(f"{COLUMNS} ORDER BY visits DESC LIMIT 100").fetchall()
    items = "".join(f"<li><a href=/{name}>{name}</a> {escape(url)}: {visits} visits" for name, url, visits in rows)
    form = "<form method=post action=/links><input name=name><input name=url><button>Add</button></form>"
    return page("Links", f"{form}<ul>{items}</ul><a href=/links.csv>Export</a>")


@app.post("/login", blocking=True)
def login(request: Request) -> Response:
    password, session = request.form.get("password", ""), secrets.token_urlsafe()
    with database() as connection:
        new = digest(password, secrets.token_hex(8))
        connection.execute("INSERT OR IGNORE INTO settings VALUES ('password', ?)", (new,))
        (kept,) = connection.execute("SELECT value FROM settings WHERE name = 'password'").fetchone()
        if not secrets.compare_digest(digest(password, kept[:16]), kept):
            raise HTTPError(403, "The password is wrong.")
        connection.execute("INSERT INTO sessions VALUES (?)", (session,))
    response = redirect("/")
    response.set_cookie("session", session, max_age=30 * 86400)
    return response


@app.post("/links", blocking=True)
def add(request: Request) -> Response:
    check_login(request)
    add_links([Link(request.form.get("name", ""), request.form.get("url", ""))])
    return redirect("/")


@app.post("/import", blocking=True)
def import_csv(request: Request) -> Response:
    check_login(request)
    lines = request.files["links"].read().decode("utf-8-sig").splitlines()
    add_links([Link(row["name"], row["url"]) for row in csv.DictReader(lines)])
    return redirect("/")


@app.get("/links.csv", blocking=True)
def export_csv(request: Request) -> Response:
    check_login(request)

    def lines() -> Iterator[str]:
        yield "name,url,visits\r\n"
        for name, url, visits in database().execute(COLUMNS):
            quoted = url.replace('"', '""')
            yield f'{name},"{quoted}",{visits}\r\n'

    disposition = {"Content-Disposition": 'attachment; filename="links.csv"'}
    return Response(lines(), headers=disposition, content_type="text/csv; charset=utf-8")


@app.get("/{name}", blocking=True)
def follow(request: Request, name: str) -> Response:
    with database() as connection:
        query = "UPDATE links SET visits = visits + 1 WHERE name = ? RETURNING url"
        row = connection.execute(query, (name,)).fetchone()
    if row is None:
        raise HTTPError(404, f"There is no link {name}.")
    return redirect(row[0], 302)


@app.error(HTTPError)
def show_error(request: Request, error: HTTPError) -> Response | dict[str, str]:
    if "json" in request.headers.get("accept", ""):
        return {"error": error.reason}
    login_form = "<form method=post action=/login><input type=password name=password><button>Log in</button></form>"
    hint = login_form if error.status == 401 else ""
    return page(str(error.status), f"<p>{escape(error.reason)}</p>{hint}", error.status)


@app.error(KeyError, UnicodeDecodeError)
def show_incomplete(request: Request, error: Exception) -> None:
    raise HTTPError(400, "The table has no name or url, or is not UTF-8.")


# The JSON API. All of its handlers are blocking, so its hook may use the database.


@api.before
def authenticate(request: Request) -> None:
    check_login(request)


@api.get("/links", blocking=True)
def list_links(request: Request) -> list[Link]:
    return [Link(*row) for row in database().execute(COLUMNS)]


@api.post("/links", blocking=True)
def add_link(request: Request) -> Response:
    link = Link(**request.json())
    add_links([link])
    return Response(link, 201, {"Location": f"/{link.name}"})


@api.error(HTTPError)
def tell_error(request: Request, error: HTTPError) -> dict[str, Any]:
    return {"error": error.reason}


@api.error(TypeError)
def tell_wrong_fields(request: Request, error: TypeError) -> None:
    raise HTTPError(422, "A link has a name and a url.")


app.include("/api", api)


@app.after
def protect(request: Request, response: Response) -> None:
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'")
