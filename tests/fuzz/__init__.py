"""Fuzzing the connection: millions of mutated and generated messages, each of them played in several ways.

    python -m tests.fuzz --messages 1000000 --seed 7      # so many, or
    python -m tests.fuzz --seconds 3600 --jobs 2          # so long, on two processes
    python -m tests.fuzz --over io_uring                  # through a server, compared with the connection itself
    python -m tests.fuzz --replay fuzz-7-123456.http      # one message again, as a file

What must hold for each message, whatever it is:

* no exception escapes, and every play comes to rest within a bounded number of steps and of CPU time;
* any split of the bytes, any size of sends, jobs done early or late, bytes that come while they are not wanted: always
  the same bytes out, and the same state at the end;
* what goes out is whole, well-formed responses;
* once the connection is over, not a byte that follows is answered.

And over all of them the process may not grow.
"""
