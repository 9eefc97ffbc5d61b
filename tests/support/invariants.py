"""What holds for a connection between two calls, as far as its public face shows it.

The in-memory reactor and the fuzzers check it after each step. The methods that have an effect (`next_job`) stay alone.
"""

from math import inf, isnan

from mreactor.http1.connection import Connection as Http1Connection
from mreactor.http1.states import CLOSED, IDLE, LINGERING, NEXT_STATES, READY, SENDING, WAITING
from mreactor.protocol import Connection, FileBody

# The HTTP/1 connection waits for the server itself in these states, or the reactor bounds them (SENDING).
WITHOUT_DEADLINE = frozenset({WAITING, SENDING, READY, CLOSED})


def check(connection: Connection, before: int) -> None:
    """Check a connection.

    Args:
        connection: of any protocol.
        before: its state at the last check.

    Raises:
        AssertionError: something does not hold.
    """
    state, output = connection.state, connection.data_to_send()
    assert not isnan(connection.deadline), "the deadline is a number"
    assert len(output) == len(connection.data_to_send()), "looking at the output does not change it"
    if isinstance(output, FileBody):
        assert output.fd >= 0, "a file to send is open"
        assert output.remaining > 0, "something of the file is left to send"
    if state in (IDLE, READY, LINGERING, CLOSED):
        assert not output, f"nothing is left to send in state {state}"
    if state in (IDLE, LINGERING):
        assert connection.wants_read, f"bytes are read in state {state}"
    if state == CLOSED:
        assert not connection.wants_read, "a closed connection reads nothing"
    if connection.resets:
        assert state == CLOSED, "only a closed connection is reset"
    if connection.awaits_rest:
        assert connection.wants_read, "the rest of a message is read"
        assert state not in (IDLE, READY, LINGERING, CLOSED), f"no message is coming in state {state}"
    if connection.more_follows:
        assert output, "what precedes a file, or the file itself, is there to be sent"
    if before == CLOSED:
        assert state == CLOSED, "a closed connection stays closed"
    if before == LINGERING:
        assert state in (LINGERING, CLOSED), "a lingering connection only closes"
    if isinstance(connection, Http1Connection):
        _check_http1(connection)


def _check_http1(connection: Http1Connection) -> None:
    assert connection.state in NEXT_STATES, f"{connection.state} is a state"
    if connection.state == WAITING and connection.deadline < inf:
        # The stream pauses.
        return
    waits_for_itself = connection.state in WITHOUT_DEADLINE
    assert (connection.deadline == inf) == waits_for_itself, f"deadline in state {connection.state}"
