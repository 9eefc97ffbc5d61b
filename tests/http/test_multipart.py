"""Multipart forms: a corpus read in every way, what a handler gets, and the memory that it takes."""

import io
import random
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from mreactor import HTTPError
from mreactor.http.multipart import LIMITS as DEFAULT_LIMITS
from mreactor.http.multipart import FormLimits, MultipartParser, PartData, PartEnd, PartHead
from mreactor.http.uploads import READ_BYTES, read_form
from mreactor.testing import make_request
from tests.http.forms import FORMS, LIMITS, Form, Part

MIB = 1024 * 1024


class Pieces:
    """A file that is read in given pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int) -> bytes:
        return next(self._pieces, b"")


def read(form: Form, pieces: Iterable[bytes]) -> list[Part] | int:
    """Return the parts of a form, or the status of its refusal. Files come in the place of their names' order."""
    try:
        read_ = read_form(cast(BinaryIO, Pieces(pieces)), form.content_type, LIMITS)
    except HTTPError as error:
        return error.status
    fields: list[Part] = [(name, None, "text/plain", text.encode()) for name, text in read_.fields]
    return fields + [(name, file.filename, file.content_type, file.read()) for name, file in read_.files]


def expected(form: Form) -> list[Part] | int:
    if isinstance(form.expected, int):
        return form.expected
    return [
        (name, filename, "text/plain" if filename is None else kind, content)
        for name, filename, kind, content in sorted(form.expected, key=lambda part: part[1] is not None)
    ]


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(FORMS) >= 200
    assert len({form.name for form in FORMS}) == len(FORMS)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_each_form_is_read_alike_however_it_arrives(form: Form) -> None:
    body, outcome = form.body, expected(form)
    assert read(form, [body]) == outcome, "whole"
    assert read(form, (body[at : at + 1] for at in range(len(body)))) == outcome, "byte by byte"
    offsets = range(1, len(body)) if len(body) < 1200 else random.Random(len(body)).sample(range(1, len(body)), 300)
    for at in offsets:
        assert read(form, [body[:at], body[at:]]) == outcome, f"split at {at}"


@pytest.mark.parametrize("form", [form for form in FORMS if not isinstance(form.expected, int)], ids=lambda f: f.name)
def test_each_good_form_is_the_same_with_random_cuts(form: Form) -> None:
    source = random.Random(form.name)
    for _ in range(20):
        cuts = sorted(source.choices(range(len(form.body) + 1), k=5))
        edges = [0, *cuts, len(form.body)]
        # An empty piece would end the body.
        pieces = [form.body[a:b] for a, b in pairwise(edges) if a < b]
        assert read(form, pieces) == expected(form)


def test_content_comes_as_it_arrives() -> None:
    """Nothing but a possible beginning of a delimiter is held back."""
    parser = MultipartParser(b"B")
    head = b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n'
    assert parser.feed(head + b"abc") == [PartHead("a", "f", "application/octet-stream"), PartData(b"abc")]
    assert parser.feed(b"def\r") == [PartData(b"def")]
    assert parser.feed(b"\n--") == []
    assert parser.feed(b"B") == []
    assert parser.feed(b"x\r\n-") == [PartData(b"\r\n--Bx")]
    assert parser.feed(b"-B--") == [PartEnd()]
    parser.close()


# --- What a handler gets. ---


def upload(**files: Any) -> Any:
    return make_request("POST", "/", form={"title": "Zo\xeb"}, files=files)


def test_a_request_has_fields_and_files() -> None:
    request = upload(photo=("a/b.png", b"\x89PNG", "image/png"), notes=("n.txt", b"text"))
    assert dict(request.form) == {"title": "Zo\xeb"}
    assert list(request.files) == ["photo", "notes"]
    assert len(request.files) == 2
    photo = request.files["photo"]
    assert (photo.filename, photo.content_type, photo.size, photo.read()) == ("b.png", "image/png", 4, b"\x89PNG")
    assert photo.read() == b"\x89PNG", "it can be read again"
    assert request.files["notes"].content_type == "application/octet-stream"
    assert request.files.get("missing") is None
    with pytest.raises(KeyError):
        request.files["missing"]


def test_several_files_of_one_name() -> None:
    body = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="%d"\r\n\r\n%d\r\n' % (n, n) for n in range(3)
    )
    request = make_request(
        "POST", "/", body=body + b"--B--", headers={"Content-Type": "multipart/form-data; boundary=B"}
    )
    assert request.files["f"].read() == b"0"
    assert [file.read() for file in request.files.get_all("f")] == [b"0", b"1", b"2"]
    assert len(request.files) == 1


def test_a_file_is_saved_under_a_new_name_only(tmp_path: Path) -> None:
    file = upload(a=("f", b"x" * MIB)).files["a"]
    file.save(str(tmp_path / "saved"))
    assert (tmp_path / "saved").read_bytes() == b"x" * MIB
    with pytest.raises(FileExistsError):
        file.save(str(tmp_path / "saved"))
    assert b"".join(file.parts(1000)) == b"x" * MIB


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (make_request("POST", "/", form={"a": "b"}), 415),
        (make_request("POST", "/", body=b"x"), 415),
        (make_request("POST", "/", body=b"x", headers={"Content-Type": "multipart/form-data; boundary=B"}), 400),
    ],
)
def test_other_bodies_have_no_files(request_: Any, status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        _ = request_.files
    assert caught.value.status == status


# --- Memory. ---


class LargeForm(io.RawIOBase):
    """A form with files of zeros, which is made while it is read."""

    def __init__(self, files: int, bytes_each: int) -> None:
        head = b'--B\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        self._pieces = iter(
            piece for _ in range(files) for piece in (head, *[bytes(READ_BYTES)] * (bytes_each // READ_BYTES), b"\r\n")
        )
        self._end = iter([b"--B--\r\n"])

    def read(self, size: int = -1) -> bytes:
        return next(self._pieces, None) or next(self._end, b"")


def test_large_files_lie_on_disk() -> None:
    tracemalloc.start()
    try:
        form = read_form(cast(BinaryIO, LargeForm(4, 16 * MIB)), "multipart/form-data; boundary=B")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [file.size for _, file in form.files] == [16 * MIB] * 4
    assert peak < 4 * MIB


def test_the_parser_holds_no_more_than_a_piece() -> None:
    """Neither a long part nor what only looks like delimiters makes it collect bytes."""
    parser = MultipartParser(b"B")
    parser.feed(b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n')
    piece = b"\r\n--Bx\r\n-" * 5000
    tracemalloc.start()
    try:
        for _ in range(40):
            assert parser.feed(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * len(piece)


def test_a_form_that_is_refused_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    from mreactor.http import uploads

    make = uploads.Spool
    monkeypatch.setattr(uploads, "Spool", lambda *a: opened.append(make(*a)) or opened[-1])
    body = b'--B\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n' + bytes(MIB)
    with pytest.raises(HTTPError):
        read_form(io.BytesIO(body), "multipart/form-data; boundary=B")
    assert [file.closed for file in opened] == [True]


def test_the_default_bounds_fit_real_forms() -> None:
    assert FormLimits() == DEFAULT_LIMITS
    assert DEFAULT_LIMITS.parts_max >= 1000
