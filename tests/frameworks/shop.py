"""A Flask application that uses what most of them use: forms, sessions, uploads, streams, JSON, files, error pages."""

import hashlib
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, abort, flash, redirect, render_template_string, request, session, stream_with_context
from flask import get_flashed_messages as flashed

LOGIN = """<!doctype html><title>Login</title>
{% for message in flashed() %}<p>{{ message }}</p>{% endfor %}
<form method=post><input type=hidden name=csrf value="{{ token }}"><input name=name><input name=password></form>"""

app = Flask(__name__, static_folder=os.environ.get("SHOP_STATIC", "static"), static_url_path="/static")
app.secret_key = "for tests only"
lock = threading.Lock()
closed = 0


@app.get("/")
def index() -> str:
    return f"Hello, {session.get('name', 'stranger')}!"


@app.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if request.method == "GET":
        token = session["csrf"] = secrets.token_hex(16)
        return render_template_string(LOGIN, token=token, flashed=flashed)
    if not secrets.compare_digest(request.form.get("csrf", ""), session.get("csrf", "-")):
        abort(403)
    if request.form["password"] != "open sesame":
        flash("Wrong password.")
        return redirect("/login")
    session["name"] = request.form["name"]
    return redirect("/")


@app.post("/upload")
def upload() -> dict[str, Any]:
    file = request.files["file"]
    digest, size = hashlib.sha256(), 0
    while block := file.stream.read(1 << 20):
        digest.update(block)
        size += len(block)
    return {"name": file.filename, "size": size, "sha256": digest.hexdigest(), "comment": request.form["comment"]}


@app.get("/stream/<int:parts>")
def stream(parts: int) -> Response:
    def generate() -> Iterator[str]:
        thread = threading.get_ident()
        for number in range(parts):
            # The context of the request is there, in the same thread.
            assert threading.get_ident() == thread
            yield f"{request.args['word']} {number}\n"

    return Response(stream_with_context(generate()), mimetype="text/plain")


@app.get("/endless")
def endless() -> Response:
    def generate() -> Iterator[bytes]:
        global closed
        try:
            while True:
                yield b"x" * 65536
        finally:
            with lock:
                closed += 1

    return Response(generate(), mimetype="application/octet-stream")


@app.get("/closed")
def how_many_closed() -> dict[str, int]:
    return {"closed": closed}


@app.route("/api/echo", methods=["POST", "PUT", "PATCH"])
def api() -> dict[str, Any]:
    return {"got": request.get_json(), "method": request.method, "path": request.path, "query": request.args.to_dict()}


@app.get("/slow/<float:seconds>")
def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@app.get("/boom")
def boom() -> str:
    raise ZeroDivisionError("boom")


@app.get("/gil")
def gil() -> dict[str, bool]:
    return {"gil": sys._is_gil_enabled()}


@app.errorhandler(404)
def not_found(error: Exception) -> tuple[str, int]:
    return "This shop has no such thing.", 404


@app.errorhandler(500)
def failed(error: Exception) -> tuple[str, int]:
    return "This shop is out of order.", 500
