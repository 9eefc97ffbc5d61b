"""The mailbox: messages arrive in order, none is lost, and the owner wakes."""

import os
import select
import threading
from collections.abc import Iterator

import pytest

from mreactor.concurrency.mailbox import Mailbox

SECONDS_MAX = 60.0


def is_readable(mailbox: Mailbox[int], seconds: float = 0.0) -> bool:
    return bool(select.select([mailbox], [], [], seconds)[0])


def test_messages_are_taken_once_and_in_order() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for number in range(5):
        mailbox.post(number)
    assert mailbox.take() == [0, 1, 2, 3, 4]
    assert mailbox.take() == []
    mailbox.close()


def test_the_mailbox_is_readable_while_messages_wait() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert not is_readable(mailbox)
    mailbox.post(1)
    mailbox.post(2)
    assert is_readable(mailbox)
    mailbox.take()
    assert not is_readable(mailbox)
    mailbox.post(3)
    assert is_readable(mailbox)
    mailbox.close()


def test_messages_survive_a_read_of_the_counter() -> None:
    """An io_uring read may have taken it."""
    mailbox: Mailbox[int] = Mailbox()
    mailbox.post(1)
    os.eventfd_read(mailbox.fileno())
    assert mailbox.take() == [1]
    mailbox.close()


def test_a_message_wakes_the_owner() -> None:
    mailbox: Mailbox[int] = Mailbox()
    waiting = threading.Event()
    taken: list[int] = []

    def own() -> None:
        waiting.set()
        if is_readable(mailbox, SECONDS_MAX):
            taken.extend(mailbox.take())

    owner = threading.Thread(target=own)
    owner.start()
    assert waiting.wait(SECONDS_MAX)
    mailbox.post(7)
    owner.join(SECONDS_MAX)
    assert taken == [7]
    mailbox.close()


def test_many_threads_may_post_while_the_owner_takes() -> None:
    mailbox: Mailbox[tuple[int, int]] = Mailbox()
    posters, each = 4, 2000
    start = threading.Barrier(posters)

    def post(poster: int) -> None:
        start.wait(SECONDS_MAX)
        for number in range(each):
            mailbox.post((poster, number))

    threads = [threading.Thread(target=post, args=(poster,)) for poster in range(posters)]
    for thread in threads:
        thread.start()
    taken: list[tuple[int, int]] = []
    while len(taken) < posters * each and select.select([mailbox], [], [], SECONDS_MAX)[0]:
        taken.extend(mailbox.take())
    for thread in threads:
        thread.join(SECONDS_MAX)
    for poster in range(posters):
        assert [number for other, number in taken if other == poster] == list(range(each))
    assert mailbox.take() == []
    mailbox.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_messages_after_close_are_dropped(pipe: tuple[int, int]) -> None:
    """A blocking handler may return after its reactor has ended. Another file may have the descriptor by then."""
    reader, writer = pipe
    mailbox: Mailbox[int] = Mailbox()
    fd = mailbox.fileno()
    mailbox.close()
    os.dup2(writer, fd)
    mailbox.post(1)
    assert not select.select([reader], [], [], 0)[0]
    os.close(fd)


def test_a_second_close_does_nothing(pipe: tuple[int, int]) -> None:
    mailbox: Mailbox[int] = Mailbox()
    fd = mailbox.fileno()
    mailbox.close()
    os.dup2(pipe[0], fd)
    mailbox.close()
    os.fstat(fd)
    os.close(fd)


def test_the_descriptor_is_not_inherited() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert not os.get_inheritable(mailbox.fileno())
    mailbox.close()
