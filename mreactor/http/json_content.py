"""JSON as content (RFC 8259): encoding what handlers return, decoding what clients send. Pure functions. See
docs/decisions/055.
"""

import json
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import accumulate, chain
from typing import Any
from uuid import UUID

# The C code of `json` calls itself for each level, so deeper values would overflow a thread's stack. 256 levels take
# some 60 KiB of it.
NESTING_MAX = 256

# Commas, opening brackets and quotes of a body: each value costs far more memory than its bytes.
MARKS_MAX = 1_000_000

# Types of values that hold no others, and that no thread can change.
_PLAIN = frozenset({str, int, float, bool, type(None)})

_ROWS = frozenset({dict})

_ALL_BUT_BRACKETS_AND_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))
_STRING = re.compile(rb'"[^"]*+"?')
# Types whose text is sent. JSON has no type for them, and a number could not carry every Decimal.
_AS_TEXT = (UUID, Decimal)
_AS_ISO_TEXT = (datetime, date, time)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

# All up to the first escaped surrogate that is not half of a pair.
_PAIRED_SURROGATES = re.compile(rb"(?:[^\\]++|\\(?!u[dD][89a-fA-F])[\s\S]|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*+")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


_local = threading.local()

# The application's own functions. They are set before a server starts, and only read from then on.
_encode: Callable[[Any], bytes | str] | None = None
_decode: Callable[[bytes], Any] | None = None


def use_json(
    *, encode: Callable[[Any], bytes | str] | None = None, decode: Callable[[bytes], Any] | None = None
) -> None:
    """Use another library for JSON in the whole process; None for the one that is built in. Call it at import.

    The limits stay: what is sent is copied and converted first, and what is received is measured first.

    Args:
        encode: returns the JSON text of dicts, lists, and values that this module does not know, such as
            `orjson.dumps`.
        decode: returns the value of a JSON text and raises ValueError for other text, such as `orjson.loads`.
    """
    global _encode, _decode
    _encode, _decode = encode, decode


def encode_json(content: Any) -> bytes:
    """Encode a value as JSON in UTF-8. Mappings and dataclasses become objects; lists and tuples become arrays.

    Dates and times become ISO 8601 text; UUID and Decimal become text; a member of an Enum becomes its value.

    Other threads may change the value meanwhile: each container is copied under its own lock, as it is at that moment.

    Raises:
        TypeError: a value that JSON does not have.
        ValueError: NaN, an infinity, or more than `NESTING_MAX` levels, which is also how a cycle ends.
    """
    copied = _copy(content, NESTING_MAX)
    if _encode is not None:
        text = _encode(copied)
        return text.encode() if isinstance(text, str) else bytes(text)
    try:
        return _thread_encoder()(copied).encode()
    except UnicodeEncodeError:
        # UTF-8 has no lone surrogates. JSON can escape them.
        return _make_encoder(ensure_ascii=True)(copied).encode()


def _thread_encoder() -> Callable[[Any], str]:
    """Return this thread's encoder."""
    encode: Callable[[Any], str] | None = getattr(_local, "encode", None)
    if encode is None:
        _local.encode = encode = _make_encoder(ensure_ascii=False)
    return encode


def _make_encoder(*, ensure_ascii: bool) -> Callable[[Any], str]:
    """Make a function that encodes copies, which have no cycles.

    `JSONEncoder.encode` makes a new C object for each value, which takes longer than encoding a short value.
    """
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, check_circular=False, allow_nan=False, separators=(",", ":"))
    make, escape = getattr(json.encoder, "c_make_encoder", None), json.encoder.encode_basestring
    if make is None:
        return encoder.encode
    if ensure_ascii:
        escape = json.encoder.encode_basestring_ascii
    iterate = make(None, encoder.default, escape, None, ":", ",", False, False, False)
    return lambda value: "".join(iterate(value, 0))


def _copy(value: Any, levels: int) -> Any:
    """Copy the containers in a value, because `json` reads lists and dicts without their locks."""
    kind, plain = type(value), _PLAIN
    if kind is dict:
        copied = value.copy()
    elif kind is list or isinstance(value, list | tuple):
        copied = list(value)
    elif kind in plain:
        return value
    elif isinstance(value, Mapping):
        copied = dict(value)
    else:
        return _convert(value, levels)
    if levels == 0:
        raise ValueError(f"a value that is nested more than {NESTING_MAX} levels deep cannot be sent as JSON")
    if type(copied) is list:
        kinds = set(map(type, copied))
        if kinds <= plain:
            return copied
        if kinds == _ROWS and levels > 1:
            # A table of plain values: a third of the time of the general way.
            rows = list(map(dict.copy, copied))
            if plain.issuperset(map(type, chain.from_iterable(map(dict.values, rows)))):
                return rows
        return [item if type(item) in plain else _copy(item, levels - 1) for item in copied]
    if not plain.issuperset(map(type, copied.values())):
        for key, item in copied.items():
            if type(item) not in plain:
                copied[key] = _copy(item, levels - 1)
    return copied


def _convert(value: Any, levels: int) -> Any:
    """Return what is sent for a value that is no container; itself if the encoder must know it."""
    if isinstance(value, _AS_ISO_TEXT):
        return value.isoformat()
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, Enum) and not isinstance(value, str | int | float):
        return _copy(value.value, levels)
    if is_dataclass(value) and not isinstance(value, type):
        return _copy({field.name: getattr(value, field.name) for field in fields(value)}, levels)
    return value


def decode_json(body: bytes) -> Any:
    """Decode JSON that `encode_json` could send: in UTF-8, without NaN, infinities and lone surrogates.

    Raises:
        ValueError: the body is not such JSON, is nested too deeply or holds too many values.
    """
    if _decode is not None:
        _check_size(body)
        return _decode(body)
    text = body.decode()
    _check_size(body)
    value = _thread_decoder()(text)
    if b"\\u" in body and _ESCAPED_SURROGATE.search(body):
        paired = _PAIRED_SURROGATES.match(body)
        if paired is not None and paired.end() < len(body):
            raise ValueError("a surrogate is not half of a pair")
    return value


def _thread_decoder() -> Callable[[str], Any]:
    """Return this thread's decoder. `json.loads` would make one for each text, which takes a quarter of its time."""
    decode: Callable[[str], Any] | None = getattr(_local, "decode", None)
    if decode is None:
        decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_parse_float).decode
        _local.decode = decode
    return decode


def _check_size(body: bytes) -> None:
    """Refuse a body that would need too much memory or stack, at little cost beside that of decoding it."""
    if len(body) <= NESTING_MAX:
        return
    opening = body.count(b"[") + body.count(b"{")
    if len(body) > MARKS_MAX and opening + body.count(b",") + body.count(b'"') > MARKS_MAX:
        raise ValueError(f"more than {MARKS_MAX:,} commas, brackets and quotes")
    if opening > NESTING_MAX and _nesting(body) > NESTING_MAX:
        raise ValueError(f"nested more than {NESTING_MAX} levels deep")


def _nesting(body: bytes) -> int:
    """Return the depth of nesting. Brackets inside strings do not count."""
    if b"\\" in body:
        # Without escaped quotes each quote begins or ends a string.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = body.translate(None, _ALL_BUT_BRACKETS_AND_QUOTES)
    # Most strings hold no bracket. Two quotes that are left side by side leave the same brackets inside strings.
    brackets = _STRING.sub(b"", marks.replace(b'""', b""))
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text:.40} is too large")
    return number
