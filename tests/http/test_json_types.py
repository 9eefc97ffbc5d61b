"""JSON beyond its own types: dates, numbers, dataclasses, and another library in the place of the built-in one."""

import dataclasses
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from mreactor import HTTPError, Response, use_json
from mreactor.http.json_content import NESTING_MAX, encode_json
from mreactor.testing import make_request


@dataclasses.dataclass
class Item:
    name: str
    price: Decimal
    tags: list[str] = dataclasses.field(default_factory=list)
    part: "Item | None" = None


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 2


class Word(StrEnum):
    A = "a"


class Odd(Enum):
    ITEM = Point(1, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 22, 21, 39, 15, 500, tzinfo=UTC), '"2026-11-22T21:39:15.000500+00:00"'),
        (datetime(2026, 11, 22, 21, 39), '"2026-11-22T21:39:00"'),
        (date(2026, 11, 22), '"2026-11-22"'),
        (time(21, 39), '"21:39:00"'),
        (UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (Decimal("1.10"), '"1.10"'),
        (Colour.RED, '"red"'),
        (Level.HIGH, "2"),
        (Word.A, '"a"'),
        (Odd.ITEM, '{"x":1,"y":2}'),
        (Point(1, 2), '{"x":1,"y":2}'),
        (Item("a", Decimal(3), ["b"], Item("c", Decimal("0.5"))),
         '{"name":"a","price":"3","tags":["b"],"part":{"name":"c","price":"0.5","tags":[],"part":null}}'),
    ],
)  # fmt: skip
def test_is_sent_as(value: Any, expected: str) -> None:
    assert encode_json([value]).decode() == f"[{expected}]"
    assert encode_json({"v": value}).decode() == f'{{"v":{expected}}}'


def test_a_dataclass_is_content() -> None:
    response = Response(Point(1, 2))
    assert (response.body, response.content_type) == (b'{"x":1,"y":2}', "application/json")
    with pytest.raises(TypeError, match="return an instance"):
        Response(Point)  # type: ignore[arg-type]


def test_a_circle_of_dataclasses_ends() -> None:
    item = Item("a", Decimal(1))
    item.part = item
    with pytest.raises(ValueError, match=str(NESTING_MAX)):
        encode_json(item)


@pytest.mark.parametrize("value", [object(), {1}, b"x", 1j, Point])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_json([value])


@pytest.fixture
def _restored() -> Iterator[None]:
    yield
    use_json()


@pytest.mark.usefixtures("_restored")
def test_another_library_encodes_what_has_been_copied() -> None:
    given: list[Any] = []

    def encode(value: Any) -> bytes:
        given.append(value)
        return b"encoded"

    use_json(encode=encode)
    content = {"a": [1, Point(1, 2)]}
    assert Response(content).body == b"encoded"
    assert given == [{"a": [1, {"x": 1, "y": 2}]}]
    assert given[0] is not content
    assert given[0]["a"] is not content["a"]
    use_json(encode=lambda value: "t\xebxt")
    assert Response([]).body == "t\xebxt".encode()
    use_json()
    assert Response([]).body == b"[]"


@pytest.mark.usefixtures("_restored")
def test_another_library_decodes_what_has_been_measured() -> None:
    use_json(decode=lambda body: {"length": len(body)})
    assert make_request("POST", "/", body=b"[1]").json() == {"length": 3}
    with pytest.raises(HTTPError, match="nested"):
        make_request("POST", "/", body=b"[" * 1000).json()
    use_json(decode=json.loads)
    with pytest.raises(HTTPError, match="400"):
        make_request("POST", "/", body=b"[").json()


def test_a_dataclass_that_another_thread_changes_is_sent_whole() -> None:
    item = Item("a", Decimal(1), ["t"] * 1000)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            item.tags.append("t")
            if len(item.tags) > 2000:
                del item.tags[1000:]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert set(json.loads(encode_json(item))["tags"]) == {"t"}
    finally:
        stop.set()
        thread.join()
