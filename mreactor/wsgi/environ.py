"""The environ: what a WSGI application is told of a request (PEP 3333, RFC 3875 section 4.1).

It is made in the pool's thread. Only literals, strings and the request are read for it: tables that threads share would
cost more than they save.
"""

from io import BytesIO
from typing import Any, Final

from ..http import Request
from .errors import ErrorStream
from .file_wrapper import FileWrapper

type Environ = dict[str, Any]

# CONTENT_TYPE and CONTENT_LENGTH have names of their own, and no other name must lead to the same key.
_RENAMED: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_PROTOCOLS: Final = {(1, 0): "HTTP/1.0", (1, 1): "HTTP/1.1"}


class EnvironMaker:
    """Makes the environs of one mounted application. Any thread may call it.

    Args:
        script_name: the path that the application is mounted at, without a final slash.
        address: host and port of the server. SERVER_NAME and SERVER_PORT are never taken from the request.
    """

    def __init__(self, script_name: str, address: tuple[str, int]) -> None:
        self._script_name = _as_latin1(script_name)
        self._prefix_length = len(script_name)
        self._server_name, self._server_port = address[0] or "localhost", str(address[1])
        self._errors = ErrorStream()

    def make(self, request: Request) -> Environ:
        """Make the environ of a request. The application may change it as it likes."""
        head, peer = request.head, request.peer
        target = head.target
        environ: Environ = {
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": self._script_name,
            "PATH_INFO": _as_latin1(head.path[self._prefix_length :]),
            "QUERY_STRING": head.query_string,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "SERVER_NAME": self._server_name,
            "SERVER_PORT": self._server_port,
            "SERVER_PROTOCOL": _PROTOCOLS[head.version],
            "SERVER_SOFTWARE": "mreactor",
            "REMOTE_ADDR": peer[0] if peer else "",
            "REMOTE_PORT": str(peer[1]) if len(peer) > 1 else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            # Not `stream` of a plain request: its dict would share a lock with those of all other requests.
            "wsgi.input": BytesIO(request.body) if type(request) is Request else request.stream,
            "wsgi.input_terminated": True,
            "wsgi.errors": self._errors,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in head.headers.items():
            # A proxy cannot tell `X_User` from `X-User`, and an application must not take the one for the other.
            if "_" not in name:
                environ[_RENAMED.get(name) or "HTTP_" + name.upper().replace("-", "_")] = value
        return environ


def _as_latin1(path: str) -> str:
    """Return a decoded path as PEP 3333 wants it: one character for each byte."""
    return path if path.isascii() else path.encode().decode("latin-1")
