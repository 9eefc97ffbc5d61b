"""The floor: recv, send of one canned reply, and edge-triggered epoll; the least that a Python server can do.

    python -m bench.floor --port 8081

It is no HTTP server: it counts blank lines and sends as many replies. One thread, one epoll, nothing
parsed, nothing counted. What a real server loses against it is what its parsing, limits and deadlines cost.
"""

import argparse
import select
import socket
import sys

from bench.docroot import WELCOME

RECEIVE_BYTES = 16 * 1024
BACKLOG = 4096
EVENTS_MAX = 512
EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
HEAD = b"HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
KEPT = HEAD % len(WELCOME) + b"\r\n" + WELCOME
CLOSED = HEAD % len(WELCOME) + b"Connection: close\r\n\r\n" + WELCOME


def main(arguments: list[str] | None = None) -> int:
    """Listen on 127.0.0.1 and serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description="The floor: canned replies on epoll.")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args(arguments).port
    with socket.create_server(("127.0.0.1", port), backlog=BACKLOG) as listener:
        serve(listener)
    return 0


def serve(listener: socket.socket) -> None:
    """Answer for ever. The listener is level-triggered, the clients are edge-triggered."""
    poller = select.epoll()
    listening = listener.fileno()
    poller.register(listening, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    poll = poller.poll
    while True:
        for number, event in poll(-1, EVENTS_MAX):
            if number == listening:
                welcome(listener, poller, clients)
            elif event & ~select.EPOLLIN or not answer(clients[number]):
                clients.pop(number).close()


def welcome(listener: socket.socket, poller: select.epoll, clients: dict[int, socket.socket]) -> None:
    """Take one new client in."""
    client, _ = listener.accept()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    clients[client.fileno()] = client
    poller.register(client, EDGES)


def answer(client: socket.socket) -> bool:
    """Read once and send as many replies as there were requests; False means that the client is done.

    One short recv ends an edge. The replies are far smaller than a socket buffer and each client waits for
    them, so that a short send means a broken client: the floor hangs up.
    """
    try:
        data = client.recv(RECEIVE_BYTES)
        if b"Connection: close" in data:
            client.send(CLOSED)
            return False
        reply = KEPT * data.count(b"\r\n\r\n")
        return bool(data) and client.send(reply) == len(reply)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
