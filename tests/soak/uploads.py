"""Uploads over the limit, through nginx and HAProxy: the client has to get the server's 413, not the proxy's 502.

A proxy writes a request before it reads the response. If the server resets it meanwhile, the response is lost.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .server import START_SECONDS, STOP_SECONDS, Server

PATIENCE_SECONDS = 120.0
PIECE_BYTES = 256 * 1024
WANTED = "413"

# What a location of nginx says besides where the server is.
NGINX_WAYS = {
    "nginx, kept connections": 'proxy_http_version 1.1; proxy_set_header Connection "";',
    "nginx, HTTP/1.0": "",
    "nginx, unbuffered": 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off;',
}
NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log error.log; {user}
events {{ }}
http {{
  access_log off; client_max_body_size 1g; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream server {{ server {host}:{port}; keepalive 8; }}
  {servers}
}}
"""
NGINX_SERVER = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://server; {way} }} }}"

HAPROXY_WAYS = {
    "HAProxy, streamed": "option http-keep-alive",
    "HAProxy, buffered": "option http-buffer-request",
    "HAProxy, closing": "option httpclose",
}
HAPROXY = """
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
{servers}
"""
HAPROXY_SERVER = """
listen {name}
  bind 127.0.0.1:{listen}
  {way}
  server one {host}:{port}
"""


@dataclass(slots=True)
class Row:
    """What uploads of one size have led to, in one way: statuses, or how they failed."""

    way: str
    megabytes: int
    outcomes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        return f"{self.way:<26} {self.megabytes:>3} MB: {outcomes}"

    def faults(self) -> list[str]:
        """One of 24 may be lost: a proxy may have its own reasons."""
        lost = self.outcomes.total() - self.outcomes[WANTED]
        return (
            [f"{lost} of {self.outcomes.total()} uploads were not refused by 413: {self}"]
            if lost * 24 > self.outcomes.total()
            else []
        )


def refuse_uploads(server: Server, sizes: list[int], times: int) -> Iterator[Row]:
    """Upload bodies of so many megabytes, each so often, directly and through the proxies that are installed."""
    with proxies(server.address) as ways:
        for way, address in ways.items():
            for size in sizes:
                row = Row(way, size)
                for number in range(times):
                    row.outcomes[upload(address, size * 1_000_000, reads_early=number % 2 == 0)] += 1
                yield row


def upload(address: tuple[str, int], size: int, *, reads_early: bool) -> str:
    """Send a body, and read at the same time, as curl does, or afterwards. Return the status, or what went wrong."""
    head = f"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    with socket.create_connection(address, PATIENCE_SECONDS) as sock:
        try:
            sock.sendall(head)
            sock.setblocking(False)
            rest, piece, limit = size, bytes(PIECE_BYTES), time.monotonic() + PATIENCE_SECONDS
            while rest and time.monotonic() < limit:
                with suppress(BlockingIOError):
                    if reads_early:
                        return _status(sock.recv(4096))
                try:
                    rest -= sock.send(piece[:rest])
                except BlockingIOError:
                    time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the response may be there all the same
        try:
            sock.settimeout(PATIENCE_SECONDS)
            return _status(sock.recv(4096))
        except OSError as error:
            return type(error).__name__


def _status(data: bytes) -> str:
    return data[9:12].decode() if data.startswith(b"HTTP/1.") else "closed"


@contextmanager
def proxies(address: tuple[str, int]) -> Iterator[dict[str, tuple[str, int]]]:
    """Start the proxies that are installed, in front of a server. Yields the address of each way, and the server's."""
    ways = {"directly": address}
    with tempfile.TemporaryDirectory(prefix="mreactor-proxies-") as name:
        folder = Path(name)
        running = [*_start_nginx(folder, address, ways), *_start_haproxy(folder, address, ways)]
        try:
            for proxy in list(ways.values()):
                _await(proxy)
            yield ways
        finally:
            for process in running:
                process.terminate()
                process.wait(STOP_SECONDS)


def _start_nginx(
    folder: Path, address: tuple[str, int], ways: dict[str, tuple[str, int]]
) -> Iterator[subprocess.Popen[bytes]]:
    if (command := shutil.which("nginx", path=_path())) is None:
        return
    ports = {way: _free_port() for way in NGINX_WAYS}
    servers = "".join(NGINX_SERVER.format(port=ports[way], way=text) for way, text in NGINX_WAYS.items())
    user = "user root;" if os.geteuid() == 0 else ""
    host, port = address
    (folder / "nginx.conf").write_text(NGINX.format(user=user, host=host, port=port, servers=servers))
    ways.update({way: ("127.0.0.1", port) for way, port in ports.items()})
    yield subprocess.Popen([command, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"])


def _start_haproxy(
    folder: Path, address: tuple[str, int], ways: dict[str, tuple[str, int]]
) -> Iterator[subprocess.Popen[bytes]]:
    if (command := shutil.which("haproxy", path=_path())) is None:
        return
    ports = {way: _free_port() for way in HAPROXY_WAYS}
    host, port = address
    servers = "".join(
        HAPROXY_SERVER.format(name=f"way{number}", listen=ports[way], way=text, host=host, port=port)
        for number, (way, text) in enumerate(HAPROXY_WAYS.items())
    )
    (folder / "haproxy.cfg").write_text(HAPROXY.format(servers=servers))
    ways.update({way: ("127.0.0.1", port) for way, port in ports.items()})
    yield subprocess.Popen([command, "-q", "-f", str(folder / "haproxy.cfg")])


def _path() -> str:
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _await(address: tuple[str, int]) -> None:
    limit = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(address, START_SECONDS).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)
