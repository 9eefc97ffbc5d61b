"""One file as the response of a handler: what `StaticFiles` does for a directory, for a path that the handler names."""

import os
from urllib.parse import quote

from ..http import Request, Response
from .content_types import guess_content_type
from .document_root import not_found, open_file
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
            there is not; 503, no descriptor is free, or another process is changing the file.
        PermissionError: the server may not read the file.
    """
    name = os.fsencode(path)
    with open_file(name) as file:
        if file.is_directory:
            raise not_found()
        version = FileVersion(file, None, content_type or guess_content_type(name))
        response = version.respond(request.head, file)
    if filename is not None:
        response.headers["Content-Disposition"] = _attachment(filename)
    return response


def _attachment(filename: str) -> str:
    """Render a Content-Disposition (RFC 6266): a plain name for all, and the full one for those that read it."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/' else "_" for c in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
