"""A Flask application while it is developed: --reload, --debug, and tests without a server."""

from pathlib import Path

import flask
import pytest

from mreactor import App
from mreactor.testing import Client
from tests.support.processes import start
from tests.support.vectors import get
from tests.system.test_reload import text_of, wait

SOURCE = """
import flask

app = flask.Flask(__name__)


@app.get("/")
def root():
    return "{text}"


@app.get("/fails")
def fails():
    raise KeyError("<b>lost</b>")
"""


def test_a_change_is_served(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SOURCE.format(text="one"))
    with start(tmp_path, "--reload", "--threads", "1", "shop:app", cwd=tmp_path) as server:
        assert text_of(server) == "one"
        (tmp_path / "shop.py").write_text(SOURCE.format(text="number two"))
        wait(lambda: text_of(server) == "number two")
        assert server.stop() == 0


@pytest.mark.parametrize("debug", ["0", "1"])
def test_the_traceback_is_shown_if_flask_passes_it_on(debug: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SOURCE.format(text="one"))
    with start(tmp_path, "--debug", "--threads", "1", "shop:app", cwd=tmp_path, FLASK_DEBUG=debug) as server:
        with server.connect() as client:
            page = client.ask(get("/fails"))
            assert page.status == 500
            assert ("&lt;b&gt;lost&lt;/b&gt;" in page.text) == (debug == "1")
            assert client.ask(get("/")).text == "one"
        server.wait_until_said("KeyError: '<b>lost</b>'")
        assert server.stop() == 0


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "secret"

    @app.get("/visits")
    def visits() -> str:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return str(flask.session["visits"])

    @app.post("/sum")
    def total() -> dict[str, int]:
        return {"sum": sum(flask.request.get_json()), "length": len(flask.request.get_data())}

    @app.get("/parts")
    def parts() -> flask.Response:
        return flask.Response(iter(["a", "b"]))

    return app


@pytest.mark.parametrize("inline", [None, False, True])
def test_a_client_for_tests(inline: bool | None) -> None:
    if inline is None:
        client = Client(make_app())
    else:
        app = App()
        app.mount_wsgi("/", make_app(), inline=inline)
        client = Client(app)
    assert [client.get("/visits").text for _ in range(3)] == ["1", "2", "3"]
    assert client.post("/sum", json=[1, 2, 3]).json() == {"sum": 6, "length": 9}
    assert client.get("/parts").text == "ab"
    assert client.get("/nothing").status == 404


def test_hooks_around_it() -> None:
    app = App()
    app.mount_wsgi("/", make_app())

    @app.after
    def protect(request: object, response: object) -> None:
        response.headers["X-Frame-Options"] = "DENY"  # type: ignore[attr-defined]

    client = Client(app)
    for path in ("/visits", "/parts", "/nothing"):
        assert client.get(path).headers["x-frame-options"] == "DENY"
