"""A Django project on both backends, with its admin and SQLite."""

import hashlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.frameworks.conftest import Serve
from tests.frameworks.visitor import Visitor
from tests.support.drivers import SOCKET_KINDS
from tests.support.processes import ROOT, ServerProcess, environment

MIB = 1024 * 1024
SETTINGS = "tests.frameworks.mysite.settings"


def manage(folder: Path, *arguments: str, **more: str) -> None:
    """Run one of Django's commands."""
    variables = environment(DJANGO_SETTINGS_MODULE=SETTINGS, MYSITE_FOLDER=str(folder), **more)
    command = [sys.executable, "-m", "django", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database with an administrator, and the collected static files."""
    folder = tmp_path_factory.mktemp("mysite")
    manage(folder, "migrate", "--verbosity", "0")
    person = ("--username", "ada", "--email", "ada@example.org")
    manage(folder, "createsuperuser", "--noinput", *person, DJANGO_SUPERUSER_PASSWORD="open sesame")
    manage(folder, "collectstatic", "--noinput", "--verbosity", "0")
    return folder


@pytest.fixture(scope="module", params=SOCKET_KINDS)
def server(request: pytest.FixtureRequest, serve: Serve, folder: Path) -> ServerProcess:
    return serve(request.param, "tests.frameworks.mysite.wsgi", MYSITE_FOLDER=str(folder))


def log_in(visitor: Visitor) -> None:
    token = visitor.ask("/admin/login/").hidden("csrfmiddlewaretoken")
    fields = {"csrfmiddlewaretoken": token, "username": "ada", "password": "open sesame", "next": "/admin/"}
    page = visitor.fill("/admin/login/", **fields)
    assert (page.status, page.headers["Location"]) == (302, "/admin/")


def test_the_admin(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        assert visitor.ask("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
        log_in(visitor)
        assert "Site administration" in visitor.ask("/admin/").text
        token = visitor.ask("/admin/auth/group/add/").hidden("csrfmiddlewaretoken")
        name = f"group {os.urandom(4).hex()}"
        assert visitor.fill("/admin/auth/group/add/", name=name).status == 403
        saved = visitor.fill("/admin/auth/group/add/", csrfmiddlewaretoken=token, name=name)
        assert (saved.status, saved.headers["Location"]) == (302, "/admin/auth/group/")
        listed = visitor.ask("/admin/auth/group/").text
        assert name in listed
        assert "was added successfully" in listed


def test_sessions(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor, Visitor(server.address) as other:
        assert [visitor.ask("/").text for _ in range(3)] == ["visit 1", "visit 2", "visit 3"]
        assert other.ask("/").text == "visit 1"


@pytest.mark.parametrize("size", [0, 1000, 50 * MIB])
def test_an_upload(server: ServerProcess, size: int) -> None:
    content = random.Random(size).randbytes(size)
    with Visitor(server.address) as visitor:
        told = visitor.upload("/upload", content, comment="for you").json()
    assert told == {"size": size, "sha256": hashlib.sha256(content).hexdigest(), "comment": "for you"}


def test_a_streamed_response_that_reads_the_database(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        lines = visitor.ask("/stream/100").text.splitlines()
        assert [line.split()[0] for line in lines] == [str(number) for number in range(100)]


def test_a_file(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        page = visitor.ask("/file")
        assert page.content == (ROOT / "tests/frameworks/mysite/urls.py").read_bytes()
        assert page.headers["Content-Length"] == str(len(page.content))
        assert page.headers["Content-Disposition"] == 'attachment; filename="urls.txt"'


def test_a_json_api(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        told = visitor.send_json("/api?a=%C3%A4", {"list": [1, None]}).json()
        assert told == {"got": {"list": [1, None]}, "method": "POST", "query": {"a": "\u00e4"}}


def test_error_pages(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        missing = visitor.ask("/nothing")
        assert (missing.status, "Not Found" in missing.text) == (404, True)
        failed = visitor.ask("/boom")
        assert (failed.status, "Server Error (500)" in failed.text) == (500, True)


@pytest.mark.parametrize("backend", SOCKET_KINDS)
def test_static_files_beside_it(backend: str, serve: Serve, folder: Path) -> None:
    server = serve(backend, "tests.frameworks.mysite.site:app", MYSITE_FOLDER=str(folder))
    with Visitor(server.address) as visitor:
        page = visitor.ask("/static/admin/css/base.css")
        assert b"body" in page.content
        assert page.headers["ETag"]
        assert visitor.ask("/").text == "visit 1"


def test_writers_at_once(server: ServerProcess) -> None:
    """Sessions are written by several threads at a time."""
    failures: list[str] = []

    def visit() -> None:
        with Visitor(server.address) as visitor:
            for number in range(1, 11):
                text = visitor.ask("/").text
                if text != f"visit {number}":
                    failures.append(text)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_gil_is_off(server: ServerProcess) -> None:
    with Visitor(server.address) as visitor:
        assert visitor.ask("/gil").json() == {"gil": False}
