"""Content negotiation: weights, codings, media types."""

import time

import pytest

from mreactor.http.negotiation import ELEMENTS_MAX, choose_type, parse_weights, rank_codings


@pytest.mark.parametrize(
    ("field", "weights"),
    [
        ("", {}),
        (",, ,", {}),
        ("gzip", {"gzip": 1.0}),
        ("GZip, BR", {"gzip": 1.0, "br": 1.0}),
        ("gzip;q=0.5,br;q=0.001", {"gzip": 0.5, "br": 0.001}),
        ("gzip ; q=0.5 , br ;Q=1.000", {"gzip": 0.5, "br": 1.0}),
        ("gzip;q=0, *;q=0.", {"gzip": 0.0, "*": 0.0}),
        ("text/html;level=1;q=0.3, a/b;level=1", {"text/html": 0.3, "a/b": 1.0}),
        ("a;q=0.5;v=1", {"a": 0.5}),
        ("gzip, gzip;q=0", {"gzip": 1.0}),
        # Malformed weights and elements.
        ("gzip;q=2, br;q=-1, a;q=0.1234, b;q=, c;q=x, d;q=1.1, e;q =1", {}),
        ("gz ip, ;q=1, br", {"br": 1.0}),
    ],
)
def test_weights(field: str, weights: dict[str, float]) -> None:
    assert parse_weights(field) == weights


def test_the_elements_are_bounded() -> None:
    field = ",".join(f"c{number}" for number in range(ELEMENTS_MAX + 5))
    assert len(parse_weights(field)) == ELEMENTS_MAX


@pytest.mark.parametrize("piece", [",", "a;q=1,", "a;", "a;;q", " ", "\t;", "a;q=0 "])
def test_no_field_takes_long(piece: str) -> None:
    field = piece * (500_000 // len(piece))
    begun = time.process_time()
    parse_weights(field)
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "br zstd gzip"),
        ("gzip, zstd", "zstd gzip"),
        ("gzip;q=1.0, br;q=0.5", "gzip br"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0", ""),
        ("*", "br zstd gzip"),
        ("*;q=0", ""),
        ("br;q=0, *", "zstd gzip"),
        ("gzip, *;q=0.1", "gzip br zstd"),
        ("gzip;q=0.1, *;q=0", "gzip"),
        ("identity", ""),
        ("identity, gzip", "gzip"),
        ("identity;q=0.5, gzip;q=0.4, br;q=0.6", "br"),
        ("identity;q=0", ""),
        ("identity;q=0, gzip;q=0.1", "gzip"),
        ("deflate", ""),
        ("gzip;q=nonsense", ""),
    ],
)
def test_codings(field: str, codings: str) -> None:
    assert " ".join(rank_codings(field, ("br", "zstd", "gzip"))) == codings


@pytest.mark.parametrize(
    ("field", "media_type"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/html", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/html", "text/html"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8", "text/html"),
        ("application/*", "application/json"),
        ("text/*;q=0.5, application/*;q=0.6", "application/json"),
        ("*/*, text/html;q=0", "application/json"),
        ("image/png", "text/html"),
        ("application/json;q=0", "text/html"),
    ],
)
def test_media_type(field: str, media_type: str) -> None:
    assert choose_type(field, ("text/html", "application/json")) == media_type
