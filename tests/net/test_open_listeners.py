"""Listening sockets of `--bind`: names with several addresses, unix sockets, descriptors, inherited sockets."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mreactor import Config, StartError
from mreactor.net import InheritedSockets, Listener, close_all, open_listeners, plain_matcher

from .test_listener import resolve_to

OWN_GROUP = os.getgid()


@contextmanager
def listening(*bind: str, inherited: InheritedSockets | None = None, **settings: Any) -> Iterator[list[Listener]]:
    listeners = open_listeners(Config(bind=bind, **settings), inherited)
    try:
        yield listeners
    finally:
        close_all(listeners)


def answers(address: str) -> bool:
    """Whether something listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(address)
        except OSError:
            return False
        return True


def complaint(*bind: str, inherited: InheritedSockets | None = None) -> str:
    with pytest.raises(StartError) as caught:
        close_all(open_listeners(Config(bind=bind), inherited))
    return str(caught.value)


# TCP.


def test_without_bind_it_is_host_and_port() -> None:
    with listening(host="localhost", port=0) as (listener,):
        assert listener.address[0] == "127.0.0.1"
        assert listener.key == "tcp:localhost:0"


def test_each_address_has_a_socket() -> None:
    with listening("127.0.0.1:0", "127.0.0.2:0", "plain:127.0.0.1:0") as listeners:
        assert [listener.address[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
        assert [listener.plain for listener in listeners] == [False, False, True]
        for listener in listeners:
            socket.create_connection(listener.address, 60.0).close()


def test_a_name_with_several_addresses_listens_on_all_that_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    # TEST-NET-1 is not of this machine.
    resolve_to(("127.0.0.2", 0), ("192.0.2.1", 0), ("127.0.0.1", 0), ("127.0.0.2", 0), monkeypatch=monkeypatch)
    with listening("a-name:0") as listeners:
        assert [listener.address[0] for listener in listeners] == ["127.0.0.2", "127.0.0.1"]
        assert len({listener.address[1] for listener in listeners}) == 1, "the free port is the same one"


def test_a_name_without_an_address_of_this_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(("192.0.2.1", 0), ("198.51.100.1", 0), monkeypatch=monkeypatch)
    assert complaint("a-name:0") == "cannot listen on a-name:0: Cannot assign requested address"


def test_if_one_address_is_taken_none_is_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert complaint(f"127.0.0.2:{port}", f"127.0.0.1:{port}") == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use; end the program that listens there, or "
            "choose another port, such as 0 for a free one"
        )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 60.0)


def test_ports_are_shared_on_request_only() -> None:
    with listening("127.0.0.1:0", reuse_port=True) as (listener,):
        text = f"127.0.0.1:{listener.address[1]}"
        with listening(text, reuse_port=True) as (other,):
            assert other.address == listener.address
        assert complaint(text).endswith("choose another port, such as 0 for a free one")


def test_all_interfaces_of_both_families() -> None:
    try:
        with listening("[::]:0") as (listener,):
            socket.create_connection(("127.0.0.1", listener.address[1]), 60.0).close()
            port = listener.address[1]
        with listening(f"[::]:{port}", f"0.0.0.0:{port}") as listeners:
            assert [listener.address[0] for listener in listeners] == ["::", "0.0.0.0"]
    except StartError as error:
        if "family" not in str(error):
            raise
        pytest.skip(f"IPv6: {error}")


def test_connections_of_plain_listeners_are_known_by_their_own_addresses(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with listening("127.0.0.1:0", "plain:127.0.0.1:0", "plain:0.0.0.0:0", "127.0.0.2:0", f"unix:{path}") as listeners:
        is_plain = plain_matcher(listeners)
        found = []
        for listener in listeners:
            with socket.socket(listener.sock.family) as client:
                address: Any = path if listener.is_unix else ("127.0.0.1", listener.address[1])
                client.connect(listener.sock.getsockname() if listener.address[0] == "127.0.0.2" else address)
                with listener.sock.accept()[0] as accepted:
                    found.append(is_plain(accepted))
        assert found == [False, True, True, False, True]


# Unix sockets.


def test_a_unix_socket_has_its_mode_and_group_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with listening(f"unix:{path},mode=640,group={OWN_GROUP}") as (listener,):
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, OWN_GROUP)
        assert listener.address == (str(path), 0)
        assert answers(str(path))
    assert not path.exists()


def test_a_path_is_that_of_the_directory_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening("unix:a.sock") as (listener,):
        monkeypatch.chdir("/")
        assert listener.key == f"unix:{tmp_path}/a.sock"
    assert not (tmp_path / "a.sock").exists()


def test_an_abstract_socket_has_no_file() -> None:
    name = f"mreactor-test-{os.getpid()}"
    with listening(f"unix:@{name}") as (listener,):
        assert listener.address == (f"@{name}", 0)
        assert answers(f"\0{name}")


def test_a_socket_file_that_a_dead_server_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with listening(f"unix:{path}"):
        assert answers(str(path))


def test_a_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with listening(f"unix:{path}"):
        assert complaint(f"unix:{path}") == f"cannot listen on unix:{path}: Address already in use"
        assert answers(str(path))


def test_a_socket_whose_queue_is_full_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mreactor.net.unix_socket.ANSWER_SECONDS_MAX", 0.05)
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as client:
        busy.bind(str(path))
        busy.listen(0)
        client.connect(str(path))
        assert complaint(f"unix:{path}").endswith("Address already in use")
        assert path.exists()


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("keep")
    assert complaint(f"unix:{path}").endswith("Address already in use")
    assert path.read_text() == "keep"


def test_a_socket_file_that_another_server_has_put_there_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with listening(f"unix:{path}"):
        path.unlink()
        other = socket.create_server(str(path), family=socket.AF_UNIX)
    with other:
        assert answers(str(path))


@pytest.mark.parametrize(
    ("bind", "said"),
    [
        ("unix:/nowhere/a.sock", "No such file or directory"),
        ("unix:/a.sock,group=no-such-group", "there is no group 'no-such-group'"),
    ],
)
def test_a_unix_socket_that_cannot_be_made(bind: str, said: str) -> None:
    assert complaint(bind) == f"cannot listen on {bind}: {said}"


# Sockets that others have opened.


def test_a_descriptor() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    fd = os.dup(given.fileno())
    os.set_inheritable(fd, True)
    with given:
        with listening(f"fd:{fd}") as (listener,):
            assert listener.address == given.getsockname()
            assert not os.get_inheritable(fd), "programs that the application starts have no use for it"
        # The socket still serves the process that opened it.
        socket.create_connection(given.getsockname(), 60.0).close()
        given.accept()[0].close()


def test_a_descriptor_that_is_no_listening_stream_socket() -> None:
    assert complaint("fd:9999") == "cannot listen on fd:9999: Bad file descriptor"
    with open(os.devnull, "rb") as file:
        assert (
            complaint(f"fd:{file.fileno()}") == f"cannot listen on fd:{file.fileno()}: Socket operation on non-socket"
        )
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            fd = sock.fileno()
            assert complaint(f"fd:{fd}") == f"cannot listen on fd:{fd}: not a listening stream socket"
            assert sock.fileno() == fd, "it is not closed"


def test_sockets_of_systemd_take_the_place_of_host_and_port(tmp_path: Path) -> None:
    given = [socket.create_server(("127.0.0.1", 0)), socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX)]
    addresses = [given[0].getsockname(), (str(tmp_path / "s"), 0)]
    inherited = InheritedSockets([("systemd:web", given[0].detach()), ("systemd:web", given[1].detach())])
    with listening(inherited=inherited) as listeners:
        assert [listener.address for listener in listeners] == addresses
        assert all(listener.is_foreign and listener.is_shared for listener in listeners)
    assert (tmp_path / "s").exists(), "the file is systemd's"


def test_sockets_of_systemd_come_in_addition_to_bind() -> None:
    given = socket.create_server(("127.0.0.1", 0))
    inherited = InheritedSockets([("systemd:web", given.detach())])
    with listening("127.0.0.2:0", inherited=inherited) as listeners:
        assert [listener.address[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2"]


def test_sockets_of_the_process_before_are_taken_by_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    binds = ("127.0.0.1:0", "127.0.0.1:0", f"unix:{path}")
    with listening(*binds, "127.0.0.3:0") as before:
        inherited = InheritedSockets([(one.key, os.dup(one.sock.fileno())) for one in before])
        with listening(*binds, "127.0.0.2:0", inherited=inherited) as after:
            assert [one.address for one in after[:3]] == [one.address for one in before[:3]]
            assert [one.is_shared for one in after] == [True, True, True, False]
            assert inherited.taken == ["tcp:127.0.0.1:0", "tcp:127.0.0.1:0", f"unix:{path}"]
            (left,) = inherited.descriptors
            inherited.close()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(left)
        # The one that took over failed: nothing has changed here.
        assert answers(str(path))
        socket.create_connection(before[0].address, 60.0).close()


@contextmanager
def taken_port() -> Iterator[str]:
    """An address of --bind at which a start fails."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def accepts(sock: socket.socket) -> bool:
    """Whether a listening socket still has clients."""
    with socket.socket(sock.family) as client:
        client.settimeout(60.0)
        try:
            client.connect(sock.getsockname())
        except OSError:
            return False
    sock.accept()[0].close()
    return True


@pytest.mark.parametrize("kind", ["fd", "systemd", "tcp", "unix"])
def test_a_start_that_fails_leaves_the_sockets_of_others_alone(kind: str, tmp_path: Path) -> None:
    """They are shared with the one that has opened them: to shut them down would end its service."""
    path = str(tmp_path / "a.sock")
    if kind == "unix":
        given = socket.create_server(path, family=socket.AF_UNIX)
    else:
        given = socket.create_server(("127.0.0.1", 0))
    fd = os.dup(given.fileno())
    bind, key = {
        "fd": (f"fd:{fd}", ""),
        "systemd": ("", "systemd:web"),
        "tcp": ("127.0.0.1:0", "tcp:127.0.0.1:0"),
        "unix": (f"unix:{path}", f"unix:{path}"),
    }[kind]
    with given, taken_port() as taken:
        inherited = InheritedSockets([(key, fd)] if key else [])
        assert "already in use" in complaint(*filter(None, (bind, taken)), inherited=inherited)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        assert accepts(given)
        assert kind != "unix" or os.path.exists(path)


def test_a_further_address_that_fails_leaves_an_inherited_one_of_the_same_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as given:
        port = given.getsockname()[1]
        resolve_to(("127.0.0.2", port), ("127.0.0.1", port), monkeypatch=monkeypatch)
        inherited = InheritedSockets([(f"tcp:127.0.0.2:{port}", os.dup(given.fileno()))])
        with socket.create_server(("127.0.0.1", port)):
            assert "already in use" in complaint(f"a-name:{port}", inherited=inherited)
        assert accepts(given)


def test_of_two_sockets_with_the_same_key_only_the_inherited_one_is_shared() -> None:
    with listening("127.0.0.1:0") as (before,):
        inherited = InheritedSockets([(before.key, os.dup(before.sock.fileno()))])
        with listening("127.0.0.1:0", "127.0.0.1:0", inherited=inherited) as after:
            assert [one.is_shared for one in after] == [True, False]


def test_a_unix_socket_whose_file_is_gone_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with listening(f"unix:{path}") as (before,):
        path.unlink()
        inherited = InheritedSockets([(before.key, os.dup(before.sock.fileno()))])
        with listening(f"unix:{path}", inherited=inherited) as (after,):
            assert answers(str(path))
            assert not after.is_shared
