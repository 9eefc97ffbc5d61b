"""The limit on connections per address: it counts hosts, not ports, and forgets a host without connections."""

import threading

from mreactor.concurrency.connection_limit import ConnectionLimit

SECONDS_MAX = 60.0


def test_a_host_gets_no_more_connections_than_the_limit() -> None:
    limit = ConnectionLimit(2)
    assert limit.acquire(("192.0.2.1", 1))
    assert limit.acquire(("192.0.2.1", 2))
    assert not limit.acquire(("192.0.2.1", 3))
    assert limit.acquire(("192.0.2.2", 1))


def test_a_refused_connection_is_not_counted() -> None:
    limit = ConnectionLimit(1)
    assert limit.acquire(("192.0.2.1", 1))
    assert not limit.acquire(("192.0.2.1", 2))
    limit.release(("192.0.2.1", 1))
    assert limit.acquire(("192.0.2.1", 3))


def test_the_peers_of_ipv6_have_two_more_numbers() -> None:
    limit = ConnectionLimit(1)
    assert limit.acquire(("2001:db8::1", 1, 0, 0))
    assert not limit.acquire(("2001:db8::1", 2, 0, 0))


def test_threads_lose_no_count() -> None:
    threads_count, rounds = 4, 2000
    limit = ConnectionLimit(threads_count)
    refused = []

    def connect(port: int) -> None:
        for _ in range(rounds):
            if not limit.acquire(("192.0.2.1", port)):
                refused.append(port)
                return
            limit.release(("192.0.2.1", port))

    threads = [threading.Thread(target=connect, args=(port,)) for port in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert not refused
    assert [limit.acquire(("192.0.2.1", port)) for port in range(threads_count + 1)] == [True] * threads_count + [False]
