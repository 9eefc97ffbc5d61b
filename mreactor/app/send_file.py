"""One file as the response of a handler: what `StaticFiles` does for a directory, for a path that the handler names."""

import errno
import os
from stat import S_ISREG
from urllib.parse import quote

from ..http import HTTPError, Request, Response
from .content_types import guess_content_type
from .document_root import NOT_FOUND_ERRORS, OPEN_FLAGS, OpenFile, not_found
from .file_cache import FileVersion


def send_file(
    request: Request, path: str | os.PathLike[str], *, content_type: str = "", filename: str | None = None
) -> Response:
    """Make the response of a file: its content, or what the request's conditions ask for instead.

    The kernel sends the file. Opening it may wait for the disk.

    Args:
        request: its conditions (If-None-Match and others) and ranges are followed.
        path: the file. It is not checked in any way: do not build it from what a client sends.
        content_type: the media type; by default that of the path's suffix.
        filename: the name under which a browser saves the file; None to let it show the file.

    Raises:
        HTTPError: 404, there is no such regular file; 412, the request asks for another version; 416, for a part that
            there is not; 503, no descriptor is free.
        PermissionError: the server may not read the file.
    """
    name = os.fsencode(path)
    with _open(name) as file:
        version = FileVersion(file, None, content_type or guess_content_type(name))
        response = version.respond(request.head, file)
    if filename is not None:
        response.headers["Content-Disposition"] = _attachment(filename)
    return response


def _open(path: bytes) -> OpenFile:
    try:
        fd = os.open(path, OPEN_FLAGS)
    except OSError as error:
        if error.errno in NOT_FOUND_ERRORS:
            raise not_found() from None
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise HTTPError(503, "The server has too many files open.", (("Retry-After", "1"),)) from None
        raise
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode):
            raise not_found()
        return OpenFile(path, fd, status)
    except BaseException:
        os.close(fd)
        raise


def _attachment(filename: str) -> str:
    """Render a Content-Disposition (RFC 6266): a plain name for all, and the full one for those that read it."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/' else "_" for c in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
