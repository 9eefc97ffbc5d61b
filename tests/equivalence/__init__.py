"""Equivalence: two checkouts of mreactor, each in a server process, give the same bytes for the same bytes.

    python -m tests.equivalence OLD NEW                             # both backends, 200,000 messages each
    python -m tests.equivalence OLD NEW --backend epoll --seed 7    # one backend, a seed of your own
    python -m tests.equivalence OLD NEW --reworded                  # sentences of error pages may differ
    nox -s equivalence -- REVISION                                  # a commit, compared with this tree

The player imports nothing of the checkouts: it starts each as `python -m mreactor` and talks to it over loopback
sockets. The application under play uses the public API alone. So internals may be renamed and moved freely between
the two.

The same scripts go to both servers, and these things must be equal:

* the bytes of every response, the values of Date left out, and where each response lies in the script;
* how each connection ends: closed by the server, or still open (a reset counts as closed; resets are shown apart);
* the counters in `/metrics` that do not depend on time;
* the lines of the access log, as a multiset, their times left out;
* the exit code after SIGTERM.

A difference is played again, several times on fresh servers, before it counts.
"""
