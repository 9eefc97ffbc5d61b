"""Hello, world: routes, a parameter and the values that a handler may return.

Start the server:

    mreactor hello:app

Send requests:

    $ curl -i http://127.0.0.1:8080/
    HTTP/1.1 200 OK
    Content-Type: text/plain; charset=utf-8
    Content-Length: 14

    Hello, world!

    $ curl -s http://127.0.0.1:8080/hello/Ada
    {"greeting":"Hello, Ada!","length":3}

    $ curl -i http://127.0.0.1:8080/goodbye
    HTTP/1.1 404 Not Found
"""

from mreactor import App, Request

app = App()


@app.get("/")
def welcome(request: Request) -> str:
    return "Hello, world!\n"


@app.get("/hello/{name}")
def hello(request: Request, name: str) -> dict[str, object]:
    return {"greeting": f"Hello, {name}!", "length": len(name)}
