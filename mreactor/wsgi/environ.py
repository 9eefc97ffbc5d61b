"""The environ: what a WSGI application is told of a request (PEP 3333, RFC 3875 section 4.1).

It is made in the thread that calls the application. Tables that threads share would cost more than they save, so each
thread remembers by itself how the field lines of requests are written in an environ.
"""

import threading
from io import BytesIO
from typing import Any, Final

from ..http import Memo, Request
from ..runtime import hot
from .errors import ErrorStream
from .file_wrapper import FileWrapper

type Environ = dict[str, Any]

# CONTENT_TYPE and CONTENT_LENGTH have names of their own, and no other name must lead to the same key.
_RENAMED: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_PROTOCOLS: Final = ("HTTP/1.0", "HTTP/1.1")


def _read_field_line(line: bytes) -> tuple[str, str]:
    """Return a field line as key and value of an environ."""
    name, _, value = line.decode("latin-1").partition(":")
    # A proxy cannot tell `X_User` from `X-User`, and an application must not take the one for the other. What has the
    # key `` is dropped.
    return "" if "_" in name else _key(name.lower()), value.strip("\t ")


class _OfThread(threading.local):
    """What one thread keeps."""

    def __init__(self) -> None:
        self.read_line = Memo(_read_field_line).__getitem__


_own = _OfThread()


@hot("make")
class EnvironMaker:
    """Makes the environs of one mounted application. Any thread may call it.

    Args:
        script_name: the path that the application is mounted at, without a final slash.
        address: host and port of the server. SERVER_NAME and SERVER_PORT are never taken from the request.
    """

    __slots__ = ("_errors", "_prefix_length", "_script_name", "_server_name", "_server_port")

    def __init__(self, script_name: str, address: tuple[str, int]) -> None:
        self._script_name = _as_latin1(script_name)
        self._prefix_length = len(script_name)
        # A unix socket has no port.
        name, port = address if address[1] else ("localhost", 80)
        self._server_name, self._server_port = name, str(port)
        self._errors = ErrorStream()

    def make(self, request: Request) -> Environ:
        """Make the environ of a request. The application may change it as it likes."""
        head, peer = request.head, request.peer
        line, field_lines = head.line, head.fields.lines
        target, path = line.target, line.path
        if self._prefix_length:
            path = path[self._prefix_length :]
        # Nothing else is known of other clients.
        is_plain = type(peer) is tuple
        environ: Environ = {
            "REQUEST_METHOD": line.method,
            "SCRIPT_NAME": self._script_name,
            "PATH_INFO": path if path.isascii() else _as_latin1(path),
            "QUERY_STRING": line.query_string,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "SERVER_NAME": self._server_name,
            "SERVER_PORT": self._server_port,
            "SERVER_PROTOCOL": _PROTOCOLS[line.version[1]],
            "SERVER_SOFTWARE": "mreactor",
            "REMOTE_ADDR": peer[0] if peer else "",
            "REMOTE_PORT": str(peer[1]) if len(peer) > 1 else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if is_plain else request.scheme,
            # Not `stream` of a plain request: its dict would share a lock with those of all other requests.
            "wsgi.input": BytesIO(request.body) if type(request) is Request else request.stream,
            "wsgi.input_terminated": True,
            "wsgi.errors": self._errors,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if not is_plain and (certificate := request.client_certificate) is not None:
            environ["mreactor.client_certificate"] = certificate
        if request.id:
            environ["mreactor.request_id"] = request.id
        count = len(environ) + len(field_lines)
        environ.update(map(_own.read_line, field_lines))
        if len(environ) != count or "" in environ:
            # A field is repeated or dropped.
            environ.pop("", None)
            for name, value in head.headers.items():
                if "_" not in name:
                    environ[_key(name)] = value
        return environ


def _key(name: str) -> str:
    """Return the key of a field by its name in lower case."""
    return _RENAMED.get(name) or "HTTP_" + name.upper().replace("-", "_")


def _as_latin1(path: str) -> str:
    """Return a decoded path as PEP 3333 wants it: one character for each byte."""
    return path if path.isascii() else path.encode().decode("latin-1")
