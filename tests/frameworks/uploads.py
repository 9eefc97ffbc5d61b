"""Slow uploads beside a normal client: `python -m tests.frameworks.uploads --clients 2000 --seconds 30`.

Each slow client sends a body of 1 MB in half to all of the time. A normal client asks again and again meanwhile. It
prints the normal client's latencies and the memory that bodies took. Exit code 1: a body came to nothing, or the
normal client's p99 was 100 ms or more.
"""

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from tests.support.processes import ServerProcess, start
from tests.support.vectors import get

BODY_BYTES = 1_000_000
P99_SECONDS = 0.1
APPLICATION = """
def app(environ, start_response):
    body = environ["wsgi.input"].read(-1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]
"""


def send_slowly(address: tuple[str, int], clients: int, seconds: float, outcome: list[int]) -> None:
    """Send each body at an even pace of its own, from one thread; put the number of right responses into `outcome`.

    The last one takes twice as long as the first, so that they do not all end at once.
    """
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES}\r\nConnection: close\r\n\r\n".encode()
    wire = memoryview(head + b"x" * BODY_BYTES)
    socks = [socket.create_connection(address) for _ in range(clients)]
    places = dict.fromkeys(socks, 0)
    rates = {sock: BODY_BYTES / seconds * (2 - number / clients) for number, sock in enumerate(socks)}
    begun = time.monotonic()
    while unfinished := [sock for sock in socks if places[sock] < len(wire)]:
        passed = time.monotonic() - begun
        for sock in unfinished:
            sock.setblocking(False)
            due = min(len(wire), len(head) + int(passed * rates[sock]))
            try:
                while places[sock] < due:
                    places[sock] += sock.send(wire[places[sock] : min(due, places[sock] + 65536)])
            except BlockingIOError:
                pass
        time.sleep(0.05)
    right = 0
    for sock in socks:
        sock.settimeout(60)
        received = b""
        while data := sock.recv(65536):
            received += data
        right += received.endswith(str(BODY_BYTES).encode())
        sock.close()
    outcome.append(right)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--backend", default="epoll")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sizes.py").write_text(APPLICATION)
        options = ("--backend", chosen.backend, "--threads", "1", "--admin", "127.0.0.1:0", "--blocking-threads", "4")
        with start(folder, *options, "sizes:app", cwd=folder) as server:
            return measure(server, chosen.clients, chosen.seconds)


def measure(server: ServerProcess, clients: int, seconds: float) -> int:
    found = server.wait_until_said(r"live page on (http://\S+)")
    outcome: list[int] = []
    sender = threading.Thread(target=send_slowly, args=(server.address, clients, seconds, outcome))
    sender.start()
    latencies, buffered = [], 0
    with server.connect() as client:
        while sender.is_alive():
            begun = time.monotonic()
            assert client.ask(get("/")).body == b"0"
            latencies.append(time.monotonic() - begun)
            time.sleep(0.01)
            if len(latencies) % 100 == 0:
                with urllib.request.urlopen(f"{found[1]}/stats.json") as response:
                    buffered = max(buffered, json.load(response)["total"]["buffered"])
    latencies.sort()
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    print(  # noqa: T201
        f"{outcome[0]} of {clients} bodies; normal client: {len(latencies)} requests, p50 {p50 * 1e3:.1f} ms,"
        f" p99 {p99 * 1e3:.1f} ms; at most {buffered / 1e6:.1f} MB of bodies in memory"
    )
    return int(outcome != [clients] or p99 >= P99_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
