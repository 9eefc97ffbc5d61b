"""Conditional requests: lists of entity tags, dates, and which of the two decides."""

import random
import time
from itertools import chain

import pytest

from mreactor.http.conditional import evaluate_conditions, opaque_tags, strong_tags
from mreactor.http.dates import format_date
from mreactor.http.headers import Headers

MODIFIED = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT


def is_not_modified(headers: Headers, etag: str, modified: int | None) -> bool:
    """Whether the status is 304; 200 otherwise."""
    status = evaluate_conditions(headers, etag, modified)
    assert status in (200, 304)
    return status == 304


def conditions(**fields: str) -> Headers:
    return Headers(tuple((name.replace("_", "-"), value) for name, value in fields.items()))


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("", []),
        (",", []),
        (" , ,\t,", []),
        ('""', ['""']),
        ('"a"', ['"a"']),
        ('W/"a"', ['"a"']),
        ('"a","b"', ['"a"', '"b"']),
        ('W/"a", "b" , W/"c"', ['"a"', '"b"', '"c"']),
        (', ,"a",, "b",', ['"a"', '"b"']),
        ('\t"a"\t', ['"a"']),
        ('"a,b", "W/"', ['"a,b"', '"W/"']),
        ('"a b"', ['"a b"']),
        ('"\x80\xff!"', ['"\x80\xff!"']),
        ('"*"', ['"*"']),
    ],
)
def test_a_well_formed_list_is_split_into_its_tags(field: str, tags: list[str]) -> None:
    assert list(opaque_tags(field)) == tags


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("a", []),
        ("*", []),
        ('"a', []),
        ("W/a", []),
        ('w/"a"', ['"a"']),
        ('W/ "a"', ['"a"']),
        ('W/W/"a"', ['"a"']),
        ('"a" "b"', ['"a"', '"b"']),
        ('"a"b', ['"a"']),
        ('"a", *', ['"a"']),
        ('"a", b, "c"', ['"a"', '"c"']),
        ('"a", "b', ['"a"']),
        ('"a",\n"b"', ['"a"', '"b"']),
    ],
)
def test_a_malformed_list_still_counts_by_its_tags(field: str, tags: list[str]) -> None:
    assert list(opaque_tags(field)) == tags


def test_random_well_formed_lists() -> None:
    chance = random.Random(15)
    characters = [chr(code) for code in chain([0x21], range(0x23, 0x7F), range(0x80, 0x100))]
    for _ in range(300):
        tags = ['"' + "".join(chance.choices([*characters, *"W/,,"], k=chance.randrange(6))) + '"' for _ in range(9)]
        present, absent = tags[: chance.randrange(9)], tags[8]
        field = ""
        for tag in present:
            field += chance.choice(["", " ", ", ", ",,"]) + chance.choice(["", "W/"]) + tag
            field += chance.choice([",", " ,", ", ", "\t, ,"])
        assert list(opaque_tags(field)) == present
        assert all(is_not_modified(conditions(if_none_match=field), tag, MODIFIED) for tag in present)
        assert is_not_modified(conditions(if_none_match=field), absent, MODIFIED) == (absent in present)


@pytest.mark.parametrize("field", ['"' * 30_001, " " * 30_000 + "x", "," * 30_000, '"a" ' * 8_000, "W/" * 15_000])
def test_a_long_list_takes_linear_time(field: str) -> None:
    begun = time.thread_time()
    assert not is_not_modified(conditions(if_none_match=field), '"x"', MODIFIED)
    assert time.thread_time() - begun < 0.5


@pytest.mark.parametrize(
    ("field", "expected"),
    [("*", True), ('"*"', False), ("*, *", False), ('"x"', True), ('W/"x"', True), ('"X"', False), ("x", False)],
)
def test_if_none_match(field: str, expected: bool) -> None:
    assert is_not_modified(conditions(if_none_match=field), '"x"', MODIFIED) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        (format_date(MODIFIED), True),
        (format_date(MODIFIED + 1), True),
        (format_date(MODIFIED - 1), False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_modified_since(date: str, expected: bool) -> None:
    assert is_not_modified(conditions(if_modified_since=date), '"x"', MODIFIED) == expected


@pytest.mark.parametrize(("tag", "shift", "expected"), [('"x"', -1, True), ('"y"', 1, False), ("", 1, False)])
def test_if_none_match_takes_precedence(tag: str, shift: int, expected: bool) -> None:
    headers = conditions(if_none_match=tag, if_modified_since=format_date(MODIFIED + shift))
    assert is_not_modified(headers, '"x"', MODIFIED) == expected


def test_an_unconditional_request_is_modified() -> None:
    assert not is_not_modified(conditions(), '"x"', MODIFIED)


# --- If-Match and If-Unmodified-Since. ---


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ("*", 200),
        ('"x"', 200),
        ('"a", "x"', 200),
        ('W/"a", "x"', 200),
        ('W/"x"', 412),  # the comparison is strong (section 13.1.1)
        ('W/"x", "a"', 412),
        ('"X"', 412),
        ('"no"', 412),
        ("x", 412),
        ("", 412),
        ('"*"', 412),
    ],
)
def test_if_match(field: str, status: int) -> None:
    assert evaluate_conditions(conditions(if_match=field), '"x"', MODIFIED) == status


def test_strong_tags_of_a_list() -> None:
    assert strong_tags('W/"a", "b",W/"c" , "W/"') == ['"b"', '"W/"']


@pytest.mark.parametrize(
    ("date", "status"),
    [
        (format_date(MODIFIED), 200),
        (format_date(MODIFIED + 1), 200),
        (format_date(MODIFIED - 1), 412),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
        ("yesterday", 200),
        ("", 200),
    ],
)
def test_if_unmodified_since(date: str, status: int) -> None:
    assert evaluate_conditions(conditions(if_unmodified_since=date), '"x"', MODIFIED) == status


OLD, NOW = format_date(MODIFIED - 1), format_date(MODIFIED)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_match": '"no"', "if_none_match": "*"}, 412),
        ({"if_match": '"x"', "if_none_match": "*"}, 304),
        ({"if_match": '"x"', "if_none_match": '"a"'}, 200),
        ({"if_match": '"x"', "if_unmodified_since": OLD}, 200),  # If-Match makes it ignored
        ({"if_match": '"no"', "if_unmodified_since": NOW}, 412),
        ({"if_unmodified_since": OLD, "if_none_match": '"x"'}, 412),
        ({"if_unmodified_since": NOW, "if_none_match": '"x"'}, 304),
        ({"if_unmodified_since": OLD, "if_modified_since": NOW}, 412),
        ({"if_unmodified_since": NOW, "if_modified_since": NOW}, 304),
        ({"if_match": "*", "if_modified_since": OLD}, 200),
    ],
)
def test_conditions_count_in_the_order_of_the_standard(fields: dict[str, str], status: int) -> None:
    assert evaluate_conditions(conditions(**fields), '"x"', MODIFIED) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_match": "*"}, 200),
        ({"if_match": '""'}, 412),
        ({"if_none_match": ""}, 200),
        ({"if_none_match": '""'}, 200),
        ({"if_none_match": "*"}, 304),
        ({"if_modified_since": NOW}, 200),
        ({"if_unmodified_since": OLD}, 200),
    ],
)
def test_without_validators_only_the_star_matches(fields: dict[str, str], status: int) -> None:
    assert evaluate_conditions(conditions(**fields), "", None) == status


# --- Methods that change a resource. ---


@pytest.mark.parametrize(
    ("fields", "etag", "read", "changed"),
    [
        ({}, '"a"', 200, 200),
        ({"if_match": '"a"'}, '"a"', 200, 200),
        ({"if_match": '"b"'}, '"a"', 412, 412),
        ({"if_match": "*"}, '"a"', 200, 200),
        ({"if_match": 'W/"a"'}, 'W/"a"', 412, 412),
        ({"if_match": '"a"'}, 'W/"a"', 412, 412),
        ({"if_none_match": "*"}, '"a"', 304, 412),
        ({"if_none_match": '"a"'}, '"a"', 304, 412),
        ({"if_none_match": 'W/"a"'}, '"a"', 304, 412),
        ({"if_none_match": '"a"'}, 'W/"a"', 304, 412),
        ({"if_none_match": '"b"'}, '"a"', 200, 200),
        ({"if_none_match": '""'}, "", 200, 200),
        ({"if_unmodified_since": format_date(MODIFIED)}, '"a"', 200, 200),
        ({"if_unmodified_since": format_date(MODIFIED - 1)}, '"a"', 412, 412),
        ({"if_unmodified_since": format_date(MODIFIED - 1), "if_match": '"a"'}, '"a"', 200, 200),
        ({"if_modified_since": format_date(MODIFIED)}, '"a"', 304, 200),
        ({"if_modified_since": format_date(MODIFIED), "if_none_match": '"b"'}, '"a"', 200, 200),
        ({"if_match": '"a"', "if_none_match": '"a"'}, '"a"', 304, 412),
        ({"if_match": '"b"', "if_none_match": '"a"'}, '"a"', 412, 412),
    ],
)
def test_the_ladder_for_reading_and_for_changing(fields: dict[str, str], etag: str, read: int, changed: int) -> None:
    headers = conditions(**fields)
    assert evaluate_conditions(headers, etag, MODIFIED) == read
    assert evaluate_conditions(headers, etag, MODIFIED, is_read=False) == changed
