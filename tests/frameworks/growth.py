"""Whether memory grows with the number of requests: `python -m tests.frameworks.growth --requests 1000000`.

Flask requests of four kinds go through the real connection and the handler, in memory and in one thread, so a million
take minutes. It prints the resident memory at each step, and what has become more. Exit code 1: it grew by over 10 %
after the first 50,000 requests.
"""

import argparse
import gc
import os
import sys
from collections import Counter

from mreactor.app.application import App
from mreactor.config import Limits
from mreactor.http1 import ReactorContext
from mreactor.runtime import before_threads, every_tick
from tests.frameworks.shop import app as shop
from tests.support.memory import return_job

SETTLED = 50_000
ALLOWED = 1.10
PEER = ("127.0.0.1", 50000)


def requests(number: int) -> bytes:
    """Return a request that no other one equals."""
    trace = f"Host: 127.0.0.1\r\nX-Trace-Id: {number:032x}\r\nCookie: a={number}\r\n"
    match number % 4:
        case 0:
            return f"GET /?n={number} HTTP/1.1\r\n{trace}\r\n".encode()
        case 1:
            return f"GET /nothing/{number} HTTP/1.1\r\n{trace}\r\n".encode()
        case 2:
            return f"GET /stream/3?word=w{number} HTTP/1.1\r\n{trace}\r\n".encode()
    body = b'{"n": %d}' % number
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST /api/echo HTTP/1.1\r\n{trace}{fields}\r\n".encode() + body


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1_000_000)
    count = parser.parse_args().requests
    app = App()
    app.mount_wsgi("/", shop)
    before_threads()
    context = ReactorContext(Limits(), app.freeze())
    connection = context.connect(PEER)
    settled, kinds = 0, Counter[str]()
    for number in range(1, count + 1):
        connection.receive_data(requests(number))
        while connection.next_job is not None:
            if (job := connection.next_job()) is not None:
                job.run()
                return_job(connection, job)
            elif output := connection.data_to_send():
                assert output.startswith((b"HTTP/1.1 200", b"HTTP/1.1 404")) or job is None, bytes(output)
                connection.data_sent(len(output))
            else:
                break
        if number % 500 == 0:
            # As the threads of the pool do.
            every_tick()
            context.begin_second(context.now)
        if number == SETTLED:
            gc.collect()
            settled = resident()
            kinds = Counter(type(one).__name__ for one in gc.get_objects())
        if number % 50_000 == 0:
            print(f"{number:>9,} requests: {resident() / 1e6:.1f} MB", flush=True)  # noqa: T201
    gc.collect()
    ended, more = resident(), Counter(type(one).__name__ for one in gc.get_objects())
    more.subtract(kinds)
    grown = {name: n for name, n in more.most_common(5) if n > 0}
    print(f"{ended / settled:.3f} of the memory after {SETTLED:,}; more objects: {grown}")  # noqa: T201
    return int(ended > ALLOWED * settled)


if __name__ == "__main__":
    sys.exit(main())
