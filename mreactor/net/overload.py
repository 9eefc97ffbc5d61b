"""How a client is turned away when there is no room for it."""

import socket


def refuse(sock: socket.SocketType, response: bytes) -> None:
    """Send a response and shut the write side. The caller closes the socket.

    Read what the client has sent first: closing a socket with unread bytes sends a reset, which can destroy the
    response.
    """
    try:
        sock.recv(64 * 1024)
    except OSError:
        pass  # nothing has come yet, or the client is gone
    try:
        sock.send(response)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the client is gone
