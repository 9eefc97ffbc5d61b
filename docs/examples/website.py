"""A web site: static files with a mount, a constant route, and state for each reactor.

Start the server:

    mreactor website:app

Send requests:

    $ curl -i http://127.0.0.1:8080/
    HTTP/1.1 200 OK
    Content-Type: text/html; charset=utf-8

    <!doctype html>
    <title>mreactor</title>
    <link rel="stylesheet" href="style.css">
    <h1>It works.</h1>

    $ curl -i http://127.0.0.1:8080/style.css
    HTTP/1.1 200 OK
    Content-Type: text/css; charset=utf-8

    h1 { font-family: sans-serif }

    $ curl -i http://127.0.0.1:8080/missing.css
    HTTP/1.1 404 Not Found

    $ curl -s http://127.0.0.1:8080/robots.txt
    User-agent: *
    Disallow: /visits

    $ curl -s http://127.0.0.1:8080/visits
    visit 1 on reactor-0
"""

import threading
from functools import partial
from pathlib import Path

from mreactor import App, Request
from mreactor.app import StaticFiles, check_root

app = App()
public = check_root(str(Path(__file__).parent / "public"))


# The same request always gets the same response, so a reactor may send it from its cache for one second.
@app.get("/robots.txt", constant=True)
def robots(request: Request) -> str:
    return "User-agent: *\nDisallow: /visits\n"


class Visits:
    """Counts the requests of one reactor. Each reactor creates its own and calls it from its own thread."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Request) -> str:
        self.count += 1  # needs no lock
        return f"visit {self.count} on {threading.current_thread().name}\n"


app.mount("/visits", Visits)
app.mount("/", partial(StaticFiles, public), constant=True)
