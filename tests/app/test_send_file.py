"""One file as a response: content, conditions, type and name; and what is no file."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mreactor import App, Request, Response, send_file
from mreactor.testing import Client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b\n1,2\n")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def client(path: Path | str, *, blocking: bool = False, **options: Any) -> Client:
    app = App()

    @app.get("/file", blocking=blocking)
    def file(request: Request) -> Response:
        return send_file(request, path, **options)

    return Client(app)


@pytest.mark.parametrize("blocking", [False, True])
def test_sends_the_file_with_its_type_and_validators(path: Path, blocking: bool) -> None:
    response = client(path, blocking=blocking).get("/file")
    assert (response.status, response.body) == (200, b"a,b\n1,2\n")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["last-modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_conditions_are_followed(path: Path) -> None:
    sender = client(path)
    etag = sender.get("/file").headers["etag"]
    assert sender.get("/file", headers={"If-None-Match": etag}).status == 304
    assert sender.get("/file", headers={"If-Match": '"other"'}).status == 412
    assert sender.head("/file").headers["content-length"] == "8"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("report.csv", 'attachment; filename="report.csv"'),
        ("my report.csv", 'attachment; filename="my report.csv"'),
        ("Zo\xeb.csv", "attachment; filename=\"Zo_.csv\"; filename*=UTF-8''Zo%C3%AB.csv"),
        ('a"b\\c/d\r\n.csv', "attachment; filename=\"a_b_c_d__.csv\"; filename*=UTF-8''a%22b%5Cc%2Fd%0D%0A.csv"),
        ("", 'attachment; filename=""'),
    ],
)
def test_a_browser_saves_it_under_a_name(path: Path, filename: str, expected: str) -> None:
    response = client(path, filename=filename, content_type="text/x").get("/file")
    assert response.headers["content-disposition"] == expected
    assert response.headers["content-type"] == "text/x"


@pytest.mark.parametrize("name", ["missing", ".", "fifo", "report.csv/x", "x" * 300])
def test_what_is_no_regular_file_is_not_found(path: Path, name: str) -> None:
    os.mkfifo(path.parent / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    assert client(path.parent / name).get("/file").status == 404
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_the_server_may_not_read_is_a_failure_of_the_handler(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    sender = client(path)
    monkeypatch.setattr(os, "open", refuse)
    assert sender.get("/file").status == 500
    assert "PermissionError" in caplog.text


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EAGAIN])
@pytest.mark.parametrize("blocking", [False, True])
def test_a_file_that_cannot_be_opened_now_is_503(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, blocking: bool
) -> None:
    """As for static files. EAGAIN: another process holds a lease on the file."""

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    sender = client(path, blocking=blocking)
    monkeypatch.setattr(os, "open", refuse)
    response = sender.get("/file")
    assert (response.status, response.headers["retry-after"]) == (503, "1")
