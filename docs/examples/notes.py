"""Blocking handlers: a guest book in SQLite.

The database is the file `notes.sqlite3` in the current directory. Start the server:

    mreactor notes:app

Send requests:

    $ curl -i -d 'author=Ada&text=First!' http://127.0.0.1:8080/notes
    HTTP/1.1 303 See Other
    Location: /notes/1

    $ curl -s http://127.0.0.1:8080/notes/1
    {"author":"Ada","text":"First!"}

    $ curl -i -d 'author=Ada' http://127.0.0.1:8080/notes
    HTTP/1.1 400 Bad Request

    $ curl -i http://127.0.0.1:8080/notes/2
    HTTP/1.1 404 Not Found
"""

import sqlite3
import threading

from mreactor import App, HTTPError, Request, Response

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, author TEXT NOT NULL, text TEXT NOT NULL)"

app = App()
local = threading.local()


def database() -> sqlite3.Connection:
    """Return the connection of the calling thread. SQLite connections do not cross threads."""
    connection: sqlite3.Connection | None = getattr(local, "connection", None)
    if connection is None:
        connection = local.connection = sqlite3.connect("notes.sqlite3", timeout=5)
        connection.execute(SCHEMA)
    return connection


# A query may wait for the disk or for another thread's lock. A blocking handler does so in the thread pool.
@app.get("/notes/{number:int}", blocking=True)
def get_note(request: Request, number: int) -> dict[str, str]:
    row = database().execute("SELECT author, text FROM notes WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise HTTPError(404, f"There is no note {number}.")
    author, text = row
    return {"author": author, "text": text}


@app.post("/notes", blocking=True)
def add_note(request: Request) -> Response:
    author, text = request.form.get("author"), request.form.get("text")
    if not author or not text:
        raise HTTPError(400, "A note has an author and a text.")
    with database() as connection:  # commits, or rolls back on an exception
        cursor = connection.execute("INSERT INTO notes (author, text) VALUES (?, ?)", (author, text))
    return Response(status=303, headers={"Location": f"/notes/{cursor.lastrowid}"})
