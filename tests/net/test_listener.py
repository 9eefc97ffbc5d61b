"""The listening socket: its address and options; and the limit on open files."""

import resource
import socket
from typing import Any

import pytest

from mreactor import Config, StartError
from mreactor.net import listen, open_listeners, raise_fd_limit, start_thread
from mreactor.net.listener import FD_TABLE_ENTRIES_MIN, RESERVED_FDS, UNSENT_BYTES_IN_KERNEL, with_zone

UNLIMITED = resource.RLIM_INFINITY


def test_accepted_sockets_leave_little_unsent_in_the_kernel_and_may_be_slow() -> None:
    (opened,) = open_listeners(Config(port=0))
    with opened.sock as listener:
        host, port = listener.getsockname()
        assert (host, listener.family) == ("127.0.0.1", socket.AF_INET)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with socket.create_connection((host, port), 60.0):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES_IN_KERNEL
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0, "it knows no slow peers"


def test_all_interfaces_accept_ipv4_as_well() -> None:
    try:
        listener = listen(Config(port=0, host="::"))
    except StartError as error:
        pytest.skip(f"IPv6: {error}")
    with listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), 60.0).close()


def resolve_to(*addresses: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (*address, 0, 0) if ":" in address[0] else address,
        )
        for address in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize(
    "addresses",
    [
        # glibc puts ::1 first for localhost (RFC 6724).
        (("::1", 0), ("127.0.0.1", 0)),
        # TEST-NET-1: not of this machine.
        (("192.0.2.1", 0), ("127.0.0.1", 0)),
    ],
)
def test_of_several_addresses_the_first_of_this_machine_is_taken_ipv4_before_ipv6(
    addresses: tuple[tuple[str, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(*addresses, monkeypatch=monkeypatch)
    with listen(Config(port=0, host="a-name")) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (("fe80::1", 80, 0, 1), "fe80::1%lo"),
        (("fe80::1%lo", 80, 0, 1), "fe80::1%lo"),
        (("fe80::1", 80, 0, 2**31 - 1), "fe80::1%2147483647"),
        (("::1", 80, 0, 0), "::1"),
        (("127.0.0.1", 80), "127.0.0.1"),
    ],
)
def test_an_address_of_one_link_is_shown_with_its_zone(name: tuple[Any, ...], host: str) -> None:
    """Without it nobody could reach it by what the log says."""
    assert with_zone(name) == host


def test_a_taken_port_is_not_replaced_by_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        resolve_to(("127.0.0.1", port), ("127.0.0.2", port), monkeypatch=monkeypatch)
        with pytest.raises(StartError, match="already in use; end the program that listens there, or choose another"):
            listen(Config(port=port, host="a-name"))


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("a..b", "cannot listen on a..b: not a valid host name"),
        ("", "cannot listen on an empty host: "),
        ("192.0.2.1", "cannot listen on 192.0.2.1 port 0: Cannot assign requested address"),
    ],
)
def test_an_unusable_host_is_named(host: str, text: str) -> None:
    with pytest.raises(StartError) as caught:
        listen(Config(port=0, host=host))
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, UNLIMITED, 2 * 5000 + RESERVED_FDS),
        (1024, 20_000, 2 * 5000 + RESERVED_FDS),
        (1024, 4096, 4096),
        (1024, 6000, 6000),
        (20_000, 20_000, None),
        (UNLIMITED, UNLIMITED, None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_hard_limit_allows(
    soft: int, hard: int, raised: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: wanted.append(pair))
    assert raise_fd_limit(5000) == FD_TABLE_ENTRIES_MIN
    assert wanted == ([] if raised is None else [(raised, hard)])
    too_low = ["the limit on open files, 4096, is too low for --connections-max 5000"]
    assert caplog.messages == (too_low if raised == 4096 else [])


def test_tables_grow_with_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (UNLIMITED, UNLIMITED))
    assert raise_fd_limit(FD_TABLE_ENTRIES_MIN) == 2 * FD_TABLE_ENTRIES_MIN + RESERVED_FDS


@pytest.mark.parametrize("name", ["getrlimit", "setrlimit"])
@pytest.mark.parametrize("error", [PermissionError(1, "Operation not permitted"), ValueError("not allowed")])
def test_a_limit_that_cannot_be_raised_is_a_warning(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> tuple[int, int]:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, UNLIMITED))
    monkeypatch.setattr(resource, name, fail)
    assert raise_fd_limit(5000) == FD_TABLE_ENTRIES_MIN
    assert caplog.messages == [f"cannot raise the limit on open files to {10_000 + RESERVED_FDS}: {error}"]


def test_a_thread_that_cannot_start_is_named() -> None:
    def start() -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(
        StartError, match=r"^cannot start the thread x: can't start new thread; raise the limit on processes$"
    ):
        start_thread(start, "x")
