"""A JSON API: methods, parameters, validation, and errors as JSON.

Start the server:

    mreactor books:app

Send requests:

    $ curl -i -X PUT -d '{"title": "Middlemarch", "year": 1871}' http://127.0.0.1:8080/books/7
    HTTP/1.1 201 Created
    Location: /books/7
    Content-Type: application/json

    {"id":7,"title":"Middlemarch","year":1871}

    $ curl -s 'http://127.0.0.1:8080/books?before=1900'
    [{"id":7,"title":"Middlemarch","year":1871}]

    $ curl -i -X PUT -d '{"title": ""}' http://127.0.0.1:8080/books/8
    HTTP/1.1 422 Unprocessable Content
    Content-Type: application/json

    {"error":"title and year are required"}

    $ curl -i -X PUT -d 'Middlemarch' http://127.0.0.1:8080/books/8
    HTTP/1.1 400 Bad Request

    $ curl -i -X DELETE http://127.0.0.1:8080/books/7
    HTTP/1.1 204 No Content

    $ curl -i http://127.0.0.1:8080/books/7
    HTTP/1.1 404 Not Found
    Content-Type: application/json

    {"error":"there is no book 7"}
"""

import threading
from typing import Any

from mreactor import App, HTTPError, Request, Response

app = App()
books: dict[int, dict[str, Any]] = {}
lock = threading.Lock()  # handlers run in parallel, and a PUT checks before it changes


def error(status: int, message: str) -> Response:
    return Response({"error": message}, status=status)


@app.get("/books")
def list_books(request: Request) -> list[dict[str, Any]]:
    try:
        before = int(request.query.get("before", "9999"))
    except ValueError:
        raise HTTPError(400, "The parameter before is a year.") from None
    with lock:
        return [book for book in books.values() if book["year"] < before]


@app.get("/books/{number:int}")
def get_book(request: Request, number: int) -> Response:
    book = books.get(number)
    return error(404, f"there is no book {number}") if book is None else Response(book)


@app.put("/books/{number:int}")
def put_book(request: Request, number: int) -> Response:
    match request.json():
        case {"title": str(title), "year": int(year)} if title:
            book = {"id": number, "title": title, "year": year}
        case _:
            return error(422, "title and year are required")
    with lock:
        is_new = number not in books
        books[number] = book
    return Response(book, status=201 if is_new else 200, headers={"Location": f"/books/{number}"})


@app.delete("/books/{number:int}")
def delete_book(request: Request, number: int) -> Response:
    removed = books.pop(number, None)
    return error(404, f"there is no book {number}") if removed is None else Response(status=204)
