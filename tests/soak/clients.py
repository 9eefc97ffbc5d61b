"""What all kinds of hostile clients need: sockets by the thousand, and a latency that is watched meanwhile."""

import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.support.certificates import client_context

ASK_SECONDS = 0.002  # the pause of a normal client between two requests
ANSWER_SECONDS = 60.0
RECONNECT_EVERY = 20
GET = b"GET /hello/normal HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello normal"

type Address = tuple[str, int]


class TlsAddress(tuple[str, int]):
    """The address of a server that serves TLS."""

    __slots__ = ()


class TlsSocket(ssl.SSLSocket):
    """A socket with TLS that behaves as a plain one when it has to wait."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive as a plain socket does: no whole record counts as nothing."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None


@cache
def tls_context() -> ssl.SSLContext:
    """The context of all clients. Each of their connections shakes hands in full."""
    context = client_context(check_hostname=False)
    context.sslsocket_class = TlsSocket
    return context


def open_connection(address: Address, window: int = 0) -> socket.socket:
    """A connection, with TLS if the server wants it."""
    sock = socket.socket()
    if window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.settimeout(ANSWER_SECONDS)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls_context().wrap_socket(sock) if isinstance(address, TlsAddress) else sock


def raise_descriptor_limit() -> None:
    """Let this process open as many sockets as it may at all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connect(address: Address, window: int = 0) -> socket.socket:
    """A non-blocking connection; `window`: its client takes about so many bytes without reading."""
    sock = open_connection(address, window)
    sock.setblocking(False)
    return sock


class NormalClient(threading.Thread):
    """Asks, waits for the response, and asks again; now and then on a new connection.

    Attributes:
        latencies: seconds from each request, or its connection's beginning, to its response.
        failure: what has ended it before it was told to.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(name="normal-client", daemon=True)
        self._address = address
        self._is_stopped = threading.Event()
        self.latencies: list[float] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        """Ask until stopped."""
        try:
            while not self._is_stopped.is_set():
                self._converse()
        except Exception as failure:
            self.failure = failure

    def stop(self) -> None:
        """Let it end; called by the thread that has started it."""
        self._is_stopped.set()
        self.join(ANSWER_SECONDS)

    def quantile(self, q: float) -> float:
        """The latency that a share `q` of the requests did not exceed, in seconds."""
        return sorted(self.latencies)[int(q * (len(self.latencies) - 1))]

    def _converse(self) -> None:
        begun = time.monotonic()
        with open_connection(self._address) as sock:
            for _ in range(RECONNECT_EVERY):
                sock.sendall(GET)
                response = sock.recv(4096)
                self.latencies.append(time.monotonic() - begun)
                if not response.endswith(b"hello normal"):
                    raise ValueError(f"the response is {response!r}")
                if self._is_stopped.wait(ASK_SECONDS):
                    return
                begun = time.monotonic()


class Control(threading.Thread):
    """A server of one client at a time, without load: what its client waits for is the machine.

    Attributes:
        address: where it listens.
    """

    def __init__(self) -> None:
        super().__init__(name="control", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()

    def run(self) -> None:
        """ReceivedResponse until stopped."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # it is stopped
            with sock:
                while sock.recv(4096):
                    sock.sendall(ANSWER)

    def stop(self) -> None:
        """Let it end, its client having left; called by the thread that has started it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.join(ANSWER_SECONDS)
        self._listener.close()


@contextmanager
def control_client() -> Iterator[NormalClient]:
    """A normal client of a server beside the one that is beset: both find the machine as busy as it is."""
    control = Control()
    control.start()
    try:
        with normal_client(control.address) as client:
            yield client
    finally:
        control.stop()


@contextmanager
def normal_client(address: Address) -> Iterator[NormalClient]:
    """A normal client, for as long as the block lasts."""
    client = NormalClient(address)
    client.start()
    try:
        yield client
    finally:
        client.stop()
