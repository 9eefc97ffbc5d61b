"""Hours of mixed traffic, thousands of slow clients, and ends under load, against a server in a process of its own.

    python -m tests.soak load --requests 10000000 --backend io_uring --threads 2
    python -m tests.soak slow --heads 2000 --bodies 2000 --readers 500 --backend epoll
    python -m tests.soak drain --times 20 --connections 500 --backend epoll
    python -m tests.soak uploads --times 24 --backend epoll
    python -m tests.soak forms --megabytes 100 --backend epoll
    python -m tests.soak unruly --seconds 600 --clients 24 --backend epoll

Each prints what it has measured and ends with 1 where something is not as it must be. Everything here talks to
127.0.0.1, and the server is stopped in the end, whatever happens.
"""
