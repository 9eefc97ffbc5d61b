"""The application for mreactor. It uses the oldest part of the API only: earlier checkouts serve it as well."""

from typing import Any

from mreactor import App, HTTPError, Request, Response

from . import work

app = App()


@app.get("/")
def welcome(request: Request) -> str:
    return work.WELCOME


@app.get("/hello/{name}")
def hello(request: Request, name: str) -> str:
    return work.greet(name)


@app.get("/search")
def search(request: Request) -> str:
    return work.tell_results(request.query["q"], request.query["page"])


@app.get("/session")
def session(request: Request) -> str:
    return work.tell_session(request.headers.get("cookie", ""))


@app.post("/orders")
def order(request: Request) -> dict[str, Any]:
    return work.confirm(request.json())


@app.delete("/orders/{number}")
def cancel(request: Request, number: str) -> Response:
    return Response(None, 204)


@app.get("/users/{user}")
def user(request: Request, user: str) -> dict[str, Any]:
    return work.profile(user)


@app.put("/users/{user}")
def rename(request: Request, user: str) -> dict[str, Any]:
    return work.rename(user, request.json())


@app.get("/users/{user}/orders")
def orders(request: Request, user: str) -> dict[str, Any]:
    return work.orders(user, request.query["page"])


@app.get("/pages/{slug}")
def page(request: Request, slug: str) -> Response:
    return Response(work.html(slug), content_type="text/html; charset=utf-8")


@app.post("/login")
def login(request: Request) -> Response:
    name = request.form["name"]
    cookie = f"session={name}; Path=/; HttpOnly; SameSite=Lax"
    return Response(work.greet(name), headers={"Set-Cookie": cookie, "Cache-Control": "no-store"})


@app.get("/account")
def account(request: Request) -> dict[str, Any]:
    if "authorization" not in request.headers:
        raise HTTPError(401, headers=(("WWW-Authenticate", "Bearer"),))
    return work.profile("me")
