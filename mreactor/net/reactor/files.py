"""Sending a file: by sendfile(2), or by reading where the kernel or the file system refuses that."""

import errno
import os

from ...protocol import SHORTER, FileBody

SENDFILE_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024

# sendfile(2): "applications may wish to fall back to read and write" for EINVAL and ENOSYS. Sandboxes add the others.
NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EOVERFLOW})


def send_file(fd: int, file: FileBody) -> int | None:
    """Send a piece of a file by sendfile.

    Returns:
        bytes sent, 0 while the file is in doubt; None if sendfile is refused: then send what `read_piece` returns.

    Raises:
        BlockingIOError: the send buffer is full.
        EOFError: the file was changed, or became shorter.
        OSError: the file cannot be read, or the socket failed.
    """
    if not file.is_same():
        return 0
    try:
        count = os.sendfile(fd, file.fd, file.offset, file.piece(SENDFILE_BYTES_MAX))
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in NO_SENDFILE:
            return None
        raise
    if count == 0:
        raise EOFError(SHORTER)
    return count


def read_piece(file: FileBody) -> bytes:
    """Return the next bytes of a file; none while it is in doubt. Raises as `FileBody.read`."""
    return file.read(READ_BYTES)
