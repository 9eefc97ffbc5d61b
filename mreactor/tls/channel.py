"""One TLS session over two buffers: ciphertext in and out, plaintext in and out. Knows no HTTP and does no I/O.

The session (`ssl.SSLObject`) belongs to one reactor's thread. It is made with the first bytes that arrive, because a
client that never sends any would take its memory for nothing.
"""

from collections.abc import Callable
from ssl import MemoryBIO, SSLContext, SSLError, SSLObject, SSLWantReadError, SSLZeroReturnError
from typing import Any

from ..runtime import hot

# The plaintext of one record at most (RFC 8446 section 5.1): so a read never leaves a part of a record in the session.
RECORD_BYTES_MAX = 16 * 1024

# What a request on an idle connection takes: put ciphertext in, decrypt a record, encrypt, take ciphertext out.
type Calls = tuple[
    Callable[[bytes], int], Callable[[int], bytes], Callable[[bytes | memoryview], int], Callable[[], bytes]
]


@hot("calls", "do_handshake", "unwrap", "getpeercert")
class Session(SSLObject):
    """A TLS session whose reads and writes can be bound without the methods of Python around them."""

    _sslobj: Any

    def calls(self, incoming: MemoryBIO, outgoing: MemoryBIO) -> Calls:
        """Return the functions that move bytes through this session and its buffers."""
        return incoming.write, self._sslobj.read, self._sslobj.write, outgoing.read


class Channel:
    """The base of `TlsConnection`: a base and not an object of its own, because thousands of them may be idle."""

    __slots__ = ("_calls", "_incoming", "_outgoing", "_session")

    _session: Session
    _incoming: MemoryBIO
    _outgoing: MemoryBIO
    # One tuple costs less than four attributes and their methods: docs/decisions/073.
    _calls: Calls

    def _begin_session(self, certificates: SSLContext) -> None:
        self._incoming, self._outgoing = incoming, outgoing = MemoryBIO(), MemoryBIO()
        session = certificates.wrap_bio(incoming, outgoing, server_side=True)
        assert isinstance(session, Session), "the context makes such sessions"
        self._session = session
        self._calls = session.calls(incoming, outgoing)

    def _shake_hands(self) -> bool:
        """Continue the handshake. Return whether it is complete. Raises SSLError if it has failed."""
        try:
            self._session.do_handshake()
        except SSLWantReadError:
            return False
        return True

    def _decrypt(self) -> bytes | None:
        """Return the content of one record, `b""` at the peer's close_notify, None if no whole record is there.

        Raises:
            SSLError: the bytes are no records of this session.
        """
        _, decrypt, _, _ = self._calls
        try:
            return decrypt(RECORD_BYTES_MAX)
        except SSLWantReadError:
            return None
        except SSLZeroReturnError:
            return b""

    def _encrypt(self, plaintext: bytes | memoryview) -> bytes:
        """Return the records that carry a plaintext, behind whatever the session itself had to say.

        Record by record: the outgoing buffer keeps the memory of the largest amount that it has held.
        """
        _, _, encrypt, take_out = self._calls
        if len(plaintext) <= RECORD_BYTES_MAX:
            encrypt(plaintext)
            return take_out()
        view, records = memoryview(plaintext), []
        for start in range(0, len(view), RECORD_BYTES_MAX):
            encrypt(view[start : start + RECORD_BYTES_MAX])
            records.append(take_out())
        return b"".join(records)

    def _encrypt_end(self) -> bytes:
        """Return the close_notify: nothing follows, so the peer knows that nothing was cut off."""
        try:
            self._session.unwrap()
        except SSLError:
            # It is written by now. The call then reads the peer's, which has not come or is not the next record.
            pass
        return self._outgoing.read()

    def _client_certificate(self) -> dict[str, Any] | None:
        """Return the verified certificate of the peer, as `ssl.SSLSocket.getpeercert`; None if it gave none."""
        return self._session.getpeercert() or None
