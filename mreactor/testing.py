"""A client for tests of applications: no socket and no thread, but the real parser, limits and connection.

    client = Client(app)
    response = client.get("/price/apple")
    assert (response.status, response.json()) == (200, {"cents": 30})

Handlers run in the thread of the test, blocking ones as well, each call in a context of its own. A handler that fails
gives a 500, and its traceback is logged to the logger "mreactor", which pytest shows.
"""

import http.client
import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple, Self, cast
from urllib.parse import quote, urlencode

from .app import App, adapt
from .config import Limits
from .http import Headers, Request
from .http1 import Connection, Parser, ReactorContext
from .protocol import CLOSED, LINGERING, READY, FileBody
from .wsgi import Application

PEER = ("127.0.0.1", 50000)

# What the connection gets, and sends of a file, in one step.
_PIECE_BYTES = 64 * 1024
_BOUNDARY = "mreactor-boundary-7MA4YWxkTrZu0gW"

type Pairs = Mapping[str, str] | Iterable[tuple[str, str]]
# The name of the file, its content and its media type.
type Upload = tuple[str, bytes] | tuple[str, bytes, str]


class ClientResponse(NamedTuple):
    """A response as a client sees it."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded from UTF-8."""
        return self.body.decode()

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """Decode the body from JSON."""
        return json.loads(self.body)


class StreamedResponse(NamedTuple):
    """A response whose parts are computed as they are taken from `parts`."""

    status: int
    headers: Headers
    parts: Iterator[bytes]


class Client:
    """Sends requests to an application, each on a connection of its own. It keeps cookies. One thread uses it.

    As a context manager it calls the application's hooks for start and stop as a server does.

    Args:
        app: the application, an `App`, whose routes are frozen, or a WSGI application.
        limits: the limits on clients.
        host: the Host field of the requests.
        peer: the address that handlers see.

    Raises:
        TypeError: `app` is something else.
    """

    def __init__(
        self,
        app: App | Application,
        *,
        limits: Limits | None = None,
        host: str = "testserver",
        peer: tuple[str, int] = PEER,
    ) -> None:
        try:
            self._app = app = adapt(app, "auto")
        except LookupError as error:
            raise TypeError(f"cannot test {app!r:.80}: {error}") from None
        self._host = host
        self._peer = peer
        # On a server they are isolated if context variables are found. A variable that is not found there must not leak
        # here either.
        self._context = ReactorContext(limits or Limits(), app.freeze(), isolates=True, errors=app.errors)
        self._cookies: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        self._app.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._app.stop()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that have been set, by name."""
        return {name: value for name, (value, _) in self._cookies.items()}

    def set_cookie(self, name: str, value: str, *, path: str = "/") -> None:
        """Send a cookie from now on, as if a response had set it."""
        self._cookies[name] = value, path

    def get(self, path: str, *, headers: Pairs = (), query: Pairs = ()) -> ClientResponse:
        """Send a GET request; see `request`."""
        return self.request("GET", path, headers=headers, query=query)

    def head(self, path: str, *, headers: Pairs = (), query: Pairs = ()) -> ClientResponse:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", path, headers=headers, query=query)

    def delete(self, path: str, *, headers: Pairs = (), query: Pairs = (), body: bytes = b"") -> ClientResponse:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", path, headers=headers, query=query, body=body)

    def options(self, path: str, *, headers: Pairs = ()) -> ClientResponse:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", path, headers=headers)

    def post(self, path: str, **content: Any) -> ClientResponse:
        """Send a POST request; see `request`."""
        return self.request("POST", path, **content)

    def put(self, path: str, **content: Any) -> ClientResponse:
        """Send a PUT request; see `request`."""
        return self.request("PUT", path, **content)

    def patch(self, path: str, **content: Any) -> ClientResponse:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", path, **content)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Pairs = (),
        query: Pairs = (),
        body: bytes | str = b"",
        json: Any = None,
        form: Pairs | None = None,
        files: Mapping[str, Upload] | None = None,
    ) -> ClientResponse:
        """Send a request and return the whole response. Redirections are not followed.

        Args:
            path: the target: a path with its percent-encoding, or a URL.
            headers: further fields; one of the same name replaces what the client would send.
            query: parameters, which are encoded and added to the path.
            body, json, form, files: the content, one of them; `form` and `files` may go together, as
                multipart/form-data.

        Raises:
            http.client.IncompleteRead: the response has been cut off, as that of a stream that fails.
            ValueError: the path is no path with its percent-encoding and no URL, or there are several contents.
            TypeError: a file is no pair or triple. See `send_bytes` for requests that are wrong on purpose.
        """
        content, content_type = _encode_content(body, json, form, files)
        _check_target(path)
        with self._open(method, path, headers, query, content, content_type) as reply:
            received = reply.read()
        return ClientResponse(reply.status, _headers(reply), received)

    @contextmanager
    def stream(
        self, method: str, path: str, *, headers: Pairs = (), query: Pairs = (), body: bytes = b""
    ) -> Iterator[StreamedResponse]:
        """Send a request and give its response part by part. Leaving the block closes the connection.

        with client.stream("GET", "/ticks") as response:
            first = next(response.parts)
        """
        _check_target(path)
        with self._open(method, path, headers, query, body, "") as reply:
            parts = iter(lambda: reply.read1(_PIECE_BYTES), b"")
            yield StreamedResponse(reply.status, _headers(reply), parts)

    def send_bytes(self, data: bytes) -> bytes:
        """Send bytes as they are on a new connection, and return all that comes back."""
        return _Wire(self._context, self._peer, data).read()

    @contextmanager
    def _open(
        self, method: str, path: str, headers: Pairs, query: Pairs, content: bytes, content_type: str
    ) -> Iterator[http.client.HTTPResponse]:
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in given}
        usual = {"Host": self._host, "Cookie": self._render_cookies(path), "Content-Type": content_type}
        fields = [(name, value) for name, value in usual.items() if value and name.lower() not in names]
        pairs = list(query.items() if isinstance(query, Mapping) else query)
        target = f"{path}{'&' if '?' in path else '?'}{urlencode(pairs)}" if pairs else path
        wire = _Wire(self._context, self._peer, render_request(method, target, [*fields, *given], content))
        reply = http.client.HTTPResponse(cast(Any, wire), method=method)
        try:
            reply.begin()
            self._keep_cookies(reply)
            yield reply
        finally:
            wire.hang_up()

    def _render_cookies(self, path: str) -> str:
        return "; ".join(f"{name}={value}" for name, (value, below) in self._cookies.items() if _covers(below, path))

    def _keep_cookies(self, reply: http.client.HTTPResponse) -> None:
        for line in reply.msg.get_all("Set-Cookie", ()):
            try:
                parsed = SimpleCookie(line)
            except CookieError as error:
                raise ValueError(f"the response sets a cookie that cannot be read: {line!r}") from error
            for name, morsel in parsed.items():
                if _has_expired(morsel["max-age"], morsel["expires"]):
                    self._cookies.pop(name, None)
                else:
                    self._cookies[name] = morsel.value, morsel["path"] or "/"


def make_request(
    method: str = "GET",
    target: str = "/",
    *,
    headers: Pairs = (),
    body: bytes | str = b"",
    json: Any = None,
    form: Pairs | None = None,
    files: Mapping[str, Upload] | None = None,
    peer: tuple[str, int] = PEER,
) -> Request:
    """Make a request by hand, for a test that calls a handler itself. See `Client.request` for the arguments."""
    content, content_type = _encode_content(body, json, form, files)
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in given}
    usual = {"Host": "testserver", "Content-Type": content_type}
    fields = [(name, value) for name, value in usual.items() if value and name.lower() not in names]
    raw = render_request(method, target, [*fields, *given], content)
    return Request(Parser(Limits()).parse(raw[: len(raw) - len(content)]), content, peer)


def render_request(method: str, target: str, fields: Iterable[tuple[str, str]], content: bytes) -> bytes:
    """Render a request as bytes. Nothing is checked, so that a test can send what is wrong."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    names = {line.partition(":")[0].lower() for line in lines}
    if not names & {"content-length", "transfer-encoding"} and (content or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


class _Wire(io.RawIOBase):
    """One connection and what a reactor does for it, as a file: reading drives the connection as far as needed."""

    def __init__(self, context: ReactorContext, peer: tuple[str, int], data: bytes) -> None:
        self._context = context
        context.begin_round(time.monotonic())
        if context.now >= context.next_second:
            context.begin_second(context.now)
        self._connection: Connection = context.connect(peer)
        self._unread = data
        # What the connection has sent and the client has not taken.
        self._sent = b""

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the file that `http.client` reads."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is; nothing if the connection has ended or waits for more."""
        if not self._sent:
            self._sent = self._next()
        count = min(len(buffer), len(self._sent))
        buffer[:count], self._sent = self._sent[:count], self._sent[count:]
        return count

    def hang_up(self) -> None:
        """Close the connection. A stream that has not ended is closed."""
        self._connection.abort()
        self._run_job()

    def _next(self) -> bytes:
        """Take steps until the connection sends something; empty if it does not."""
        connection = self._connection
        while True:
            if output := connection.data_to_send():
                data = output.read(_PIECE_BYTES) if isinstance(output, FileBody) else bytes(output)
                connection.data_sent(len(data))
                if data:
                    return data
                continue
            if self._run_job():
                continue
            if connection.state == READY:
                connection.resume()
            elif self._unread and connection.wants_read and connection.state not in (LINGERING, CLOSED):
                data, self._unread = self._unread[:_PIECE_BYTES], self._unread[_PIECE_BYTES:]
                response = connection.receive_data(data)
                if response is not None:
                    return response
            else:
                return b""

    def _run_job(self) -> bool:
        job = self._connection.next_job()
        if job is None:
            return False
        job.run()
        response = self._connection.job_done(job)
        if response is not None:
            self._connection.queue_remainder(response, 0)
        return True


def _headers(reply: http.client.HTTPResponse) -> Headers:
    return Headers(tuple((name.lower(), value) for name, value in reply.getheaders()))


def _check_target(path: str) -> None:
    """Check that a path can be sent, since a 400 would hide a slip of the test."""
    if not path.startswith("/") and path != "*" and "://" not in path:
        raise ValueError(f"the path {path!r} does not begin with a slash")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"the path {path!r} needs percent-encoding; write {quote(path, safe='/?&=%:+,;@*')!r}")


def _covers(below: str, path: str) -> bool:
    """Whether a cookie's path covers that of a request (RFC 6265bis section 5.1.4)."""
    path = path.partition("?")[0]
    return path == below or (path.startswith(below) and (below.endswith("/") or path[len(below)] == "/"))


def _has_expired(max_age: str, expires: str) -> bool:
    if max_age:
        return int(max_age) <= 0
    return bool(expires) and parsedate_to_datetime(expires).timestamp() <= time.time()


def _encode_content(
    body: bytes | str, json_value: Any, form: Pairs | None, files: Mapping[str, Upload] | None
) -> tuple[bytes, str]:
    """Return the content and its media type; empty if the caller's fields set it."""
    if sum((bool(body), json_value is not None, form is not None or files is not None)) > 1:
        raise ValueError("a request has one content: body, json, or form and files")
    fields = list(form.items() if isinstance(form, Mapping) else form or ())
    if files is not None:
        return _encode_multipart(fields, files), f"multipart/form-data; boundary={_BOUNDARY}"
    if form is not None:
        return urlencode(fields).encode("ascii"), "application/x-www-form-urlencoded"
    if json_value is not None:
        return json.dumps(json_value).encode(), "application/json"
    return (body.encode(), "text/plain; charset=utf-8") if isinstance(body, str) and body else (bytes(body or b""), "")


def _encode_multipart(fields: Iterable[tuple[str, str]], files: Mapping[str, Upload]) -> bytes:
    parts = [(f'name="{_escape(name)}"', "", value.encode()) for name, value in fields]
    for name, upload in files.items():
        match upload:
            case (str(), bytes()) | (str(), bytes(), str()):
                filename, content, *kind = upload
            case _:
                raise TypeError(
                    f"the file {name!r} must be a tuple of file name and bytes, with a media type behind them or not, "
                    f"and not {upload!r:.80}"
                )
        disposition = f'name="{_escape(name)}"; filename="{_escape(filename)}"'
        parts.append((disposition, (kind or ["application/octet-stream"])[0], content))
    encoded = b""
    for disposition, kind_, content in parts:
        head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
        head += f"Content-Type: {kind_}\r\n" if kind_ else ""
        encoded += head.encode() + b"\r\n" + content + b"\r\n"
    return encoded + f"--{_BOUNDARY}--\r\n".encode("ascii")


def _escape(name: str) -> str:
    """Escape a name as browsers do (the HTML standard, multipart/form-data)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
