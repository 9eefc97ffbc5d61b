"""JSON as content: what is taken, what is sent, and what neither may cost."""

import json
import random
import subprocess
import sys
import threading
from collections import ChainMap, OrderedDict, UserDict, namedtuple
from types import MappingProxyType
from typing import Any

import pytest

from mreactor.http import json_content
from mreactor.http.json_content import MARKS_MAX, NESTING_MAX, decode_json, encode_json

Row = namedtuple("Row", "a b")


def nest(depth: int, brackets: str = "[]") -> bytes:
    """JSON of this many levels."""
    opening, closing = brackets
    inner = '"a":' if opening == "{" else ""
    return ((opening + inner) * (depth - 1) + brackets + closing * (depth - 1)).encode()


# --- What is sent. ---


@pytest.mark.parametrize(
    ("content", "encoded"),
    [
        ({"a": [1, None, True, 2.5, "\xe9"]}, b'{"a":[1,null,true,2.5,"\xc3\xa9"]}'),
        ([(1, (2,)), Row(3, [4])], b"[[1,[2]],[3,[4]]]"),
        ({1: {None: {}}}, b'{"1":{"null":{}}}'),
        (ChainMap({"a": 1}, {"b": 2}), b'{"b":2,"a":1}'),
        ([UserDict(a=[MappingProxyType({"b": ()})])], b'[{"a":[{"b":[]}]}]'),
        ("text", b'"text"'),
    ],
)
def test_mappings_and_sequences_are_sent_at_any_depth(content: Any, encoded: bytes) -> None:
    assert encode_json(content) == encoded


def test_an_ordered_dict_keeps_its_own_order() -> None:
    ordered = OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert encode_json([ordered]) == b'[{"b":2,"a":1}]'


def test_the_content_is_left_as_it_is() -> None:
    content = {"a": [{"b": (1, [2])}]}
    encode_json(content)
    assert content == {"a": [{"b": (1, [2])}]}


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_content_is_bounded_in_depth(brackets: str) -> None:
    deepest = json.loads(nest(NESTING_MAX, brackets))
    assert encode_json(deepest) == nest(NESTING_MAX, brackets)
    for too_deep in ([deepest], (deepest,), {"a": deepest}):
        with pytest.raises(ValueError, match="256 levels"):
            encode_json(too_deep)


@pytest.mark.parametrize("row", [{"a": 1, "b": "c"}, {}, {"a": [1]}])
def test_rows_count_as_a_level(row: dict[str, Any]) -> None:
    value: Any = [row, row]
    for _ in range(NESTING_MAX - (3 if "a" in row and row["a"] == [1] else 2)):
        value = [value]
    assert json.loads(encode_json(value)) == value
    with pytest.raises(ValueError, match="256 levels"):
        encode_json([value])


def test_rows_are_copied_and_converted() -> None:
    rows: list[Any] = [{"a": 1}, {"a": UserDict(b=2)}, {"a": {"c": (3, None)}}]
    assert encode_json(rows) == b'[{"a":1},{"a":{"b":2}},{"a":{"c":[3,null]}}]'
    assert rows == [{"a": 1}, {"a": {"b": 2}}, {"a": {"c": (3, None)}}]
    assert encode_json([{"a": 1}, OrderedDict(a=1), []]) == b'[{"a":1},{"a":1},[]]'


def test_an_encoder_without_the_c_code_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    contents: list[Any] = [{"a": [1, 2.5, None, True, {"b": []}]}, {"a": "Grüße"}, ["\ud800"]]
    expected = [encode_json(content) for content in contents]
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    monkeypatch.setattr(json_content, "_local", threading.local())
    assert [encode_json(content) for content in contents] == expected


def test_a_cycle_is_too_deep() -> None:
    cycle: list[Any] = []
    cycle.append({"a": cycle})
    with pytest.raises(ValueError, match="256 levels"):
        encode_json(cycle)


@pytest.mark.parametrize("content", [{1, 2}, [b"a"], {"a": object()}])
def test_what_json_does_not_have_is_refused(content: Any) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode_json(content)


# Each line of `CHANGES` is one way to change a container that another thread encodes.
SHARED = """
import sys, threading, time
from mreactor.http.json_content import encode_json

inner, things, items = {}, {}, []
things.update(inner=inner, items=items)
def change():
    n = 0
    while not over.is_set():
        n += 1
        inner[f"k{n}"] = things[f"k{n}"] = f"value {n}"
        if n % 50 == 0: inner.clear()
        if n % 70 == 0:
            for key in [key for key in things.copy() if key.startswith("k")]: things.pop(key, None)
        items[:] = [f"item {n} {i}" for i in range(n % 200)]
        if n % 3 == 0: items.clear()
def encode():
    while not over.is_set(): encode_json(things)
over = threading.Event()
threads = [threading.Thread(target=work) for work in (change, change, encode, encode)]
for thread in threads: thread.start()
time.sleep(3)
over.set()
for thread in threads: thread.join()
print("it lives")
"""


@pytest.mark.slow
def test_containers_that_other_threads_change_do_no_harm() -> None:
    """`json` reads lists and dicts without their locks: it would end the process within a second or two."""
    done = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "it lives\n"), done.stderr


SMALL_STACK = """
import threading
from mreactor import HTTPError, Request, Response

def outcome(call, *arguments):
    try: return call(*arguments) and "taken"
    except (ValueError, HTTPError) as error: return "refused"
def trial():
    for body in (b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 9500 + b"1" + b"}" * 9500):
        print(outcome(Request(None, body, ("", 0)).json))
    print(outcome(Response, deep))
    deepest = Request(None, b'{"a":' * 255 + b"{}" + b"}" * 255, ("", 0)).json()
    print(outcome(Response, deepest))
deep = 1  # freed by the main thread: the interpreter needs a large stack for that
for _ in range(9500): deep = {"a": [deep]}
threading.stack_size(192 << 10)
thread = threading.Thread(target=trial)
thread.start()
thread.join()
"""


def test_deep_json_does_not_overflow_a_small_stack() -> None:
    done = subprocess.run([sys.executable, "-c", SMALL_STACK], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["refused"] * 4 + ["taken"]), done.stderr


# --- What is taken. ---


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_a_body_is_bounded_in_depth(brackets: str) -> None:
    deepest = nest(NESTING_MAX, brackets)
    assert encode_json(decode_json(deepest)) == deepest
    with pytest.raises(ValueError, match="256 levels"):
        decode_json(nest(NESTING_MAX + 1, brackets))


@pytest.mark.parametrize(
    "text",
    ["]" * 600, "[" * 600, '\\"' * 300 + "[" * 300, "\\\\" * 300 + "]", "{}[]" * 200, "]]]]\\\\", '\\\\\\"[' * 300],
    ids=["closing", "opening", "quotes", "backslashes", "pairs", "at the end", "both"],
)
def test_brackets_in_strings_are_no_levels(text: str) -> None:
    string = f'"{text}"'
    flat = f"[{string},[{string}]" + ",[]" * 300 + "]"
    assert decode_json(flat.encode()) == json.loads(flat)
    deep = "".join(f"[{string}," for _ in range(NESTING_MAX)) + "[" + "]" * (NESTING_MAX + 1)
    with pytest.raises(ValueError, match="256 levels"):
        decode_json(deep.encode())


def test_depth_is_that_of_the_decoded_value() -> None:
    """Random values with brackets, quotes and backslashes in their strings, against a count over the value."""
    chance = random.Random(7)

    def make(depth: int) -> Any:
        text = "".join(chance.choices('[]{}"\\,: a', k=chance.randrange(6)))
        if depth == 0:
            return text
        return [text, make(depth - 1), text] if chance.random() < 0.5 else {text: make(depth - 1)}

    for depth in (NESTING_MAX - 1, NESTING_MAX, NESTING_MAX + 1) * 20:
        body = json.dumps(make(depth)).encode()
        if depth <= NESTING_MAX:
            assert decode_json(body) == json.loads(body)
        else:
            with pytest.raises(ValueError, match="256 levels"):
                decode_json(body)


@pytest.mark.parametrize("value", [b"[],", b"{},", b"1,", b'"",', b'"a":'], ids=repr)
def test_a_body_is_bounded_in_values(value: bytes) -> None:
    """Otherwise 16 MiB of `[],` take half a gigabyte and two seconds."""
    with pytest.raises(ValueError, match="1,000,000"):
        decode_json(b"[" + value * MARKS_MAX + b"1]")


def test_a_large_body_of_few_values_is_taken() -> None:
    text = "x" * (2 * MARKS_MAX)
    assert decode_json(b'["%b"]' % text.encode()) == [text]
    numbers = list(range(MARKS_MAX - 1))
    assert decode_json(json.dumps(numbers, separators=(",", ":")).encode()) == numbers


@pytest.mark.parametrize(
    "escaped",
    [
        r"\ud83d",
        r"\uDE00",
        r"\ud83d\ud83d\ude00",
        r"\ude00\ud83d",
        r"\ud83dx",
        r"\\\ud83d",
        r"\ud83d\\ude00",
        r"\uD83D\n",
    ],
)
def test_a_lone_surrogate_is_refused(escaped: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        decode_json(f'["{escaped}"]'.encode())


@pytest.mark.parametrize(
    "escaped", [r"\ud83d\ude00", r"\uD83D\uDE00\uDBFF\uDFFF", r"\\ud83d", r"\\\\ude00", r"\ud7ff\ue000"]
)
def test_other_escapes_are_taken_and_can_be_sent(escaped: str) -> None:
    value = decode_json(f'["{escaped}"]'.encode())
    assert value == json.loads(f'["{escaped}"]')
    assert decode_json(encode_json(value)) == value


def test_a_lone_surrogate_of_the_application_is_escaped() -> None:
    """Other programs write file names and the like with surrogates; UTF-8 cannot hold them, and JSON can."""
    assert encode_json(["\ud800", "\xe9"]) == b'["\\ud800","\\u00e9"]'


@pytest.mark.parametrize("number", ["1e999", "-1e309", "9" * 400 + ".0", "Infinity", "-Infinity", "NaN"])
def test_a_number_that_no_response_can_carry_is_refused(number: str) -> None:
    with pytest.raises(ValueError):
        decode_json(f"[{number}]".encode())


@pytest.mark.parametrize("number", ["1e308", "-1.5e-999", "0.1", "1E5", "123456789012345678901234567890"])
def test_other_numbers_are_taken_and_can_be_sent(number: str) -> None:
    value = decode_json(f"[{number}]".encode())
    assert value == json.loads(f"[{number}]")
    assert decode_json(encode_json(value)) == value
