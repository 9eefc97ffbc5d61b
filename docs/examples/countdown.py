"""Streaming: a generator, a stream that may wait, and a stream that rejects a request before it begins.

Start the server:

    mreactor countdown:app

Send requests:

    $ curl -i http://127.0.0.1:8080/squares.csv
    HTTP/1.1 200 OK
    Content-Type: text/csv; charset=utf-8
    Transfer-Encoding: chunked

    n,square
    1,1
    2,4
    3,9

    $ curl -s http://127.0.0.1:8080/countdown/3
    data: 3

    data: 2

    data: 1

    data: lift-off

    $ curl -i http://127.0.0.1:8080/countdown/1000
    HTTP/1.1 400 Bad Request
"""

import time
from collections.abc import Iterator

from mreactor import App, HTTPError, Request, Response

app = App()


@app.get("/squares.csv")
def squares(request: Request) -> Response:
    return Response(rows(3), content_type="text/csv; charset=utf-8")


def rows(count: int) -> Iterator[str]:
    """Yield a line for each number. The reactor asks for a line when the client has taken the one before."""
    yield "n,square\n"
    for n in range(1, count + 1):
        yield f"{n},{n * n}\n"


# The events wait, so the route is blocking: the thread pool computes each of them.
@app.get("/countdown/{start:int}", blocking=True)
def countdown(request: Request, start: int) -> Response:
    # A generator cannot reject a request, because its first line runs after the head has been sent.
    if not 0 <= start <= 10:
        raise HTTPError(400, "A countdown starts at a number from 0 to 10.")
    return Response(events(start), content_type="text/event-stream")


def events(start: int) -> Iterator[str]:
    """Yield server-sent events, a tenth of a second apart."""
    for n in range(start, 0, -1):
        yield f"data: {n}\n\n"
        time.sleep(0.1)
    yield "data: lift-off\n\n"
