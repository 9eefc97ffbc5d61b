"""multipart/form-data (RFC 7578): a parser without I/O.

`MultipartParser` takes the body in pieces of any size and returns events. It keeps at most a part's head, or the bytes
that may be the beginning of a delimiter. All bounds are in `FormLimits`. See docs/decisions/086.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote

from .grammar import TOKEN
from .status import HTTPError


@dataclass(frozen=True, slots=True)
class FormLimits:
    """Bounds on one form. Its whole size is bounded as that of any body."""

    parts_max: int = 1000
    head_bytes_max: int = 8 * 1024
    name_chars_max: int = 1024
    # All fields that are no files: they are kept in memory.
    fields_bytes_max: int = 2 * 1024 * 1024
    # Of one file. What is larger goes to a temporary file on disk.
    memory_bytes_max: int = 256 * 1024


LIMITS: Final = FormLimits()

# A boundary (RFC 2046 section 5.1.1). It does not end with a space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")

_TOKEN = TOKEN.decode("ascii")
_QUOTED = r'"(?:[^"\\\r\n]|\\.)*+"'
_TYPE = re.compile(rf"[ \t]*+({_TOKEN}(?:/{_TOKEN})?)[ \t]*+")
_PARAMETER = re.compile(rf";[ \t]*+({_TOKEN})[ \t]*+=[ \t]*+({_TOKEN}|{_QUOTED})[ \t]*+")
# Some clients end a field with a semicolon.
_LAST = re.compile(r";?[ \t]*+")
_FIELD = re.compile(rb"(%b):([^\r\n\0]*+)" % TOKEN)

# What may stand between a delimiter and the end of its line (RFC 2046 section 5.1.1).
_PADDING: Final = b" \t"
_PADDING_BYTES_MAX: Final = 256

# In which the content of a part is itself (RFC 7578 section 4.7).
_IDENTITY_CODINGS = frozenset({"", "7bit", "8bit", "binary"})


class PartHead(NamedTuple):
    """The beginning of a part. `filename` is None for a field that is no file; `content_type` is as declared."""

    name: str
    filename: str | None
    content_type: str


class PartData(NamedTuple):
    """Some of a part's content."""

    content: bytes


class PartEnd(NamedTuple):
    """The end of a part."""


type Event = PartHead | PartData | PartEnd


class MultipartParser:
    """Reads one multipart body. It takes bytes and returns events; it does no I/O.

    Raises:
        HTTPError: 400 for what is malformed, 413 for what is too large.
    """

    def __init__(self, boundary: bytes, limits: FormLimits = LIMITS) -> None:
        self._limits = limits
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning.
        self._buffer = b"\r\n"
        self._parts = 0
        self._step: Callable[[list[Event]], bool] = self._skip_preamble
        self._is_over = False

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body; return what they have completed."""
        events: list[Event] = []
        self._buffer = self._buffer + data if self._buffer else data
        while self._step(events):
            pass
        return events

    def close(self) -> None:
        """Note the end of the body. Raises if it came too early."""
        if not self._is_over:
            raise _malformed("it ends before its last delimiter")

    # Each step takes what it can from the buffer. It returns False if it needs more bytes.

    def _skip_preamble(self, events: list[Event]) -> bool:
        found = self._find_delimiter()
        if found is None:
            return False
        self._step = self._read_delimiter
        return True

    def _read_delimiter(self, events: list[Event]) -> bool:
        """Read what follows a delimiter: the end of its line, or two hyphens behind the last part."""
        buffer = self._buffer
        if buffer.startswith(b"--"):
            self._is_over = True
            self._buffer = b""
            self._step = self._skip_epilogue
            return False
        padded = buffer.lstrip(_PADDING)
        if len(buffer) - len(padded) > _PADDING_BYTES_MAX:
            raise _malformed("a delimiter is followed by too many spaces")
        if len(padded) < 2:
            return False
        if not padded.startswith(b"\r\n"):
            raise _malformed("a delimiter is followed by something else than the end of its line")
        self._parts += 1
        if self._parts > self._limits.parts_max:
            raise HTTPError(413, f"The form has more than {self._limits.parts_max} parts.")
        # The line end may be that of an empty head, so it stays.
        self._buffer = padded
        self._step = self._read_head
        return True

    def _read_head(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > self._limits.head_bytes_max or (end < 0 and len(self._buffer) > self._limits.head_bytes_max + 4):
            raise HTTPError(413, f"The head of a part has more than {self._limits.head_bytes_max} bytes.")
        if end < 0:
            return False
        events.append(_parse_head(self._buffer[2:end], self._limits))
        # A part without content ends at once: its delimiter begins with the line end of its head.
        self._buffer = self._buffer[end + 2 :]
        self._step = self._begin_content
        return True

    def _begin_content(self, events: list[Event]) -> bool:
        """Drop the empty line behind a head, unless the delimiter begins with it."""
        if len(self._buffer) < len(self._delimiter):
            if not self._delimiter.startswith(self._buffer):
                self._buffer = self._buffer[2:]
                self._step = self._read_content
                return True
            return False
        if not self._buffer.startswith(self._delimiter):
            self._buffer = self._buffer[2:]
        self._step = self._read_content
        return True

    def _read_content(self, events: list[Event]) -> bool:
        content = self._find_delimiter()
        if content is not None:
            if content:
                events.append(PartData(content))
            events.append(PartEnd())
            self._step = self._read_delimiter
            return True
        kept = self._kept()
        if len(self._buffer) > kept:
            events.append(PartData(self._buffer[: len(self._buffer) - kept]))
            self._buffer = self._buffer[len(self._buffer) - kept :]
        return False

    def _skip_epilogue(self, events: list[Event]) -> bool:
        self._buffer = b""
        return False

    def _find_delimiter(self) -> bytes | None:
        """Return what stands before the next delimiter, and drop both; None if there is none yet.

        A line that only begins like a delimiter is content: what follows must be padding, a line end or two hyphens.
        """
        start = 0
        while (found := self._buffer.find(self._delimiter, start)) >= 0:
            end = found + len(self._delimiter)
            following = self._buffer[end : end + 2]
            if following[:1] in (b" ", b"\t") or following in (b"\r\n", b"--"):
                before, self._buffer = self._buffer[:found], self._buffer[end:]
                return before
            if len(following) < 2 and following in (b"", b"\r", b"-"):
                return None
            start = found + 1
        if self._step == self._skip_preamble:
            self._buffer = self._buffer[len(self._buffer) - self._kept() :]
        return None

    def _kept(self) -> int:
        """Return how many bytes at the end of the buffer may be the beginning of a delimiter."""
        longest = len(self._delimiter) + 1
        tail = self._buffer[-longest:]
        start = tail.find(b"\r")
        while start >= 0:
            candidate = tail[start:]
            if self._delimiter.startswith(candidate) or candidate.startswith(self._delimiter):
                return len(candidate)
            start = tail.find(b"\r", start + 1)
        return 0


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type field names.

    Raises:
        HTTPError: 415 for another media type, 400 for a boundary that is missing or malformed.
    """
    kind, parameters = _parse_parameters(content_type)
    if kind != "multipart/form-data":
        raise HTTPError(415, "This resource takes multipart/form-data.")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise _malformed("its Content-Type names no boundary")
    return boundary.encode("ascii")


def _parse_head(head: bytes, limits: FormLimits) -> PartHead:
    """Read the head of a part. It is checked as strictly as that of a request: no folding, one field of a name."""
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n") if head else ():
        match = _FIELD.fullmatch(line)
        if match is None:
            raise _malformed("the head of a part has a line that is no field")
        name = match[1].decode("ascii").lower()
        if name in fields:
            raise _malformed(f"the head of a part has two fields {name}")
        fields[name] = decode_text(match[2].strip(b" \t"))
    kind, parameters = _parse_parameters(fields.get("content-disposition", ""))
    if kind != "form-data" or "name" not in parameters:
        raise _malformed("a part has no Content-Disposition of form-data with a name")
    if fields.get("content-transfer-encoding", "").lower() not in _IDENTITY_CODINGS:
        raise HTTPError(415, "A part has a Content-Transfer-Encoding. Send its content as it is.")
    name, filename = _unescape(parameters["name"]), _filename(parameters)
    if max(len(name), len(filename or "")) > limits.name_chars_max:
        raise HTTPError(413, f"A name in the form has more than {limits.name_chars_max} characters.")
    content_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    return PartHead(name, filename, content_type or ("text/plain" if filename is None else "application/octet-stream"))


def _parse_parameters(field: str) -> tuple[str, dict[str, str]]:
    """Return a field's first word in lower case, and its parameters. Raises if anything else is in it."""
    if not field:
        return "", {}
    match = _TYPE.match(field)
    if match is None:
        raise _malformed("a field is not a word with parameters")
    kind, end = match[1].lower(), match.end()
    parameters: dict[str, str] = {}
    while parameter := _PARAMETER.match(field, end):
        name, value = parameter[1].lower(), parameter[2]
        if name in parameters:
            raise _malformed(f"a field has two parameters {name}")
        parameters[name] = re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value[0] == '"' else value
        end = parameter.end()
    if not _LAST.fullmatch(field, end):
        raise _malformed("a field is not a word with parameters")
    return kind, parameters


def _filename(parameters: dict[str, str]) -> str | None:
    """Return the name of a file without folders; None if the part is no file.

    Senders must not use `filename*` (RFC 7578 section 4.2). It counts if there is no plain name.
    """
    if "filename" in parameters:
        name = _unescape(parameters["filename"])
    elif "filename*" in parameters:
        charset, _, rest = parameters["filename*"].partition("'")
        _, quote, encoded = rest.partition("'")
        if charset.lower() != "utf-8" or not quote:
            raise _malformed("a filename* is not UTF-8'language'name")
        try:
            name = unquote(encoded, errors="strict")
        except UnicodeDecodeError:
            raise _malformed("a filename* is not UTF-8") from None
    else:
        return None
    name = re.split(r"[/\\]", name)[-1]
    if "\0" in name:
        raise _malformed("a file name holds a NUL")
    return "" if name in (".", "..") else name


def _unescape(name: str) -> str:
    """Undo what browsers do to names: they encode these three characters, and no others (the HTML standard)."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def decode_text(text: bytes) -> str:
    """Decode UTF-8. Raises an `HTTPError`, 400, for other bytes."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise _malformed("a field is not UTF-8") from None


def _malformed(what: str) -> HTTPError:
    return HTTPError(400, f"The form cannot be read: {what}.")
