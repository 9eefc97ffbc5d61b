"""A directory, the handler that serves it, and a clock for both."""

import os
from pathlib import Path
from typing import Any

import pytest

from mreactor.app.static_files import StaticFiles
from mreactor.app.static_options import StaticOptions
from mreactor.config import Limits
from mreactor.http.handler import MustWait
from mreactor.http.request import Request
from mreactor.http.response import Response
from mreactor.http.status import HTTPError
from mreactor.http1.head_parser import Parser

PARSER = Parser(Limits())
LONG_AGO = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


class Site:
    """A directory and the handler that serves it."""

    def __init__(self, root: Path, *, prefix: str = "/", sendfile_bytes_min: int = 65536, **options: Any) -> None:
        self.root = root
        self.handler = StaticFiles(
            root, prefix=prefix, sendfile_bytes_min=sendfile_bytes_min, options=StaticOptions(**options)
        )

    def write(self, name: str, content: bytes | str, modified: float = LONG_AGO) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (modified, modified))
        return path

    def request(self, target: str, *fields: str, method: str = "GET") -> Request:
        lines = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
        raw = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        return Request(PARSER.parse(raw), b"", ("127.0.0.1", 1))

    def get(self, target: str, *fields: str, method: str = "GET") -> Response:
        """Call the handler, as often as the server does."""
        request = self.request(target, *fields, method=method)
        try:
            return self.handler(request)
        except MustWait:
            request.may_wait = True
            return self.handler(request)

    def refusal(self, target: str) -> HTTPError:
        with pytest.raises(HTTPError) as caught:
            self.get(target)
        return caught.value


class Clock:
    """Replaces the `time` module. Time passes only through `advance`."""

    def __init__(self, wall: float) -> None:
        self.now = 1000.0
        self.wall = wall

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


def field(response: Response, name: str) -> str:
    values = [value for key, value in response.headers if key == name]
    assert len(values) <= 1
    return values[0] if values else ""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
