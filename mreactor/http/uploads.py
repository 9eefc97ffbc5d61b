"""Forms with files (multipart/form-data): fields in memory, files in memory up to a bound and on disk beyond it."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, BinaryIO, Final, NamedTuple

from .multipart import LIMITS, Event, FormLimits, MultipartParser, PartData, PartHead, decode_text, parse_boundary
from .status import HTTPError, MissingField

READ_BYTES: Final = 256 * 1024


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A file that ends with its request: it need not be closed, and it does not warn if it was not."""

    def __del__(self) -> None:
        self.close()


class UploadedFile:
    """A file of a form. It is deleted when the request is over; `save` keeps it.

    Attributes:
        filename: its name on the client's machine, without folders; empty if the client sent none. Any client can send
            any name: do not use it as a path.
        content_type: the media type that the client declares, in lower case and without parameters.
        size: its length in bytes.
        file: the content as a binary file, in memory or on disk.
    """

    __slots__ = ("content_type", "file", "filename", "size")

    def __init__(self, filename: str, content_type: str, file: BinaryIO, size: int = 0) -> None:
        self.filename = filename
        self.content_type = content_type
        self.file = file
        self.size = size

    def read(self) -> bytes:
        """Return the whole content."""
        self.file.seek(0)
        return self.file.read()

    def parts(self, size: int = READ_BYTES) -> Iterator[bytes]:
        """Yield the content in pieces of `size` bytes."""
        self.file.seek(0)
        while part := self.file.read(size):
            yield part

    def save(self, path: str) -> None:
        """Write the content to a file, which must not exist."""
        self.file.seek(0)
        with open(path, "xb") as target:
            shutil.copyfileobj(self.file, target, READ_BYTES)

    def __del__(self) -> None:
        # A file on disk that is not closed would be reported by the interpreter.
        self.file.close()

    def __repr__(self) -> str:
        return f"<UploadedFile {self.filename!r} {self.content_type} {self.size} bytes>"


class Files(Mapping[str, UploadedFile]):
    """The files of a form by the names of their fields. A repeated name has its first file."""

    def __init__(self, files: list[tuple[str, UploadedFile]]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> UploadedFile:
        for field, upload in self._files:
            if field == name:
                return upload
        raise MissingField(name, "file")

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._files))

    def __len__(self) -> int:
        return len(dict(self._files))

    def get_all(self, name: str) -> list[UploadedFile]:
        """Return all files of a name, in order."""
        return [upload for field, upload in self._files if field == name]

    def __repr__(self) -> str:
        return f"Files({self._files!r})"


class Form(NamedTuple):
    """The parts of a form, in order: fields by name and text, files by name and content."""

    fields: list[tuple[str, str]]
    files: list[tuple[str, UploadedFile]]


def read_form(body: IO[bytes], content_type: str, limits: FormLimits = LIMITS) -> Form:
    """Read a form. Files that are large lie in temporary files, which vanish with the form.

    Args:
        body: the content, at its beginning.
        content_type: the Content-Type field, which names the boundary.

    Raises:
        HTTPError: 400, 413, 415.
    """
    parser = MultipartParser(parse_boundary(content_type), limits)
    form = Form([], [])
    collector = _Collector(form, limits)
    try:
        while piece := body.read(READ_BYTES):
            for event in parser.feed(piece):
                collector.take(event)
        parser.close()
    except BaseException:
        for _, upload in form.files:
            upload.file.close()
        raise
    for _, upload in form.files:
        upload.file.seek(0)
    return form


class _Collector:
    """Fills a form with the events of a parser."""

    def __init__(self, form: Form, limits: FormLimits) -> None:
        self._form = form
        self._limits = limits
        self._name = ""
        self._text: list[bytes] = []
        self._text_bytes = 0
        self._upload: UploadedFile | None = None

    def take(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, PartHead):
            self._begin(event)
        elif isinstance(event, PartData):
            self._add(event.content)
        elif self._upload is None:
            self._form.fields.append((self._name, decode_text(b"".join(self._text))))

    def _begin(self, head: PartHead) -> None:
        self._name, self._text, self._upload = head.name, [], None
        self._text_bytes += len(head.name)
        if head.filename is not None:
            file = Spool(self._limits.memory_bytes_max)
            self._upload = UploadedFile(head.filename, head.content_type, file)  # type: ignore[arg-type]
            self._form.files.append((head.name, self._upload))

    def _add(self, content: bytes) -> None:
        if self._upload is not None:
            self._upload.file.write(content)
            self._upload.size += len(content)
            return
        self._text_bytes += len(content)
        if self._text_bytes > self._limits.fields_bytes_max:
            raise HTTPError(413, f"The fields of the form have more than {self._limits.fields_bytes_max} bytes.")
        self._text.append(content)
