"""Regular expressions: the time of each is linear in what it reads, since peers may send what is worst for it."""

import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import mreactor
from mreactor.http import conditional, json_content, negotiation
from mreactor.http1 import grammar
from mreactor.proxy import forwarded

BYTES = 8_000
# Linear patterns take less than a millisecond, quadratic ones half a second and more.
SECONDS_MAX = 0.1
UNITS = (
    '"', '\\"', '"\\', "\\", '","', ",", ";", "=", "a=;", 'a="', " ", "\t", "; q", ";\t", "[", "1", "a", ".", "-", "%",
    ":", "/", "[:", "a/", "(", "\\u", "\\ud", "\\ud83d", "W/", 'W/"',
)  # fmt: skip
# Those that look for something anywhere; the others begin where they are told to.
SEARCHED = (
    conditional._TAG, forwarded._ESCAPED, grammar.FORBIDDEN, json_content._ESCAPED_SURROGATE, json_content._STRING,
    negotiation._HAS_WEIGHT, negotiation._WEIGHT,
)  # fmt: skip


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for found in pkgutil.walk_packages(mreactor.__path__, "mreactor."):
        if not found.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(found.name)).items():
                for each in value if isinstance(value, tuple) else (value,):
                    if isinstance(each, re.Pattern):
                        yield f"{found.name.removeprefix('mreactor.')}.{name}", each


PATTERNS = dict(patterns())


def seconds(call: Callable[[], object]) -> float:
    begun = time.thread_time()
    call()
    return time.thread_time() - begun


def slow_inputs(
    pattern: re.Pattern[Any], use: Callable[[re.Pattern[Any], Any], object], units: Sequence[str] = UNITS
) -> list[str]:
    slow = []
    for unit in units:
        hostile = unit * (BYTES // len(unit))
        for text in (hostile, f"a{hostile}", f"{hostile}\0"):
            given = text.encode() if isinstance(pattern.pattern, bytes) else text
            # A busy machine may be slow once.
            if all(seconds(lambda given=given: use(pattern, given)) > SECONDS_MAX for _ in range(3)):
                slow.append(unit)
    return slow


def test_they_are_found() -> None:
    assert len(PATTERNS) > 40


@pytest.mark.parametrize("name", PATTERNS)
def test_matching_takes_linear_time(name: str) -> None:
    pattern = PATTERNS[name]
    assert not slow_inputs(pattern, lambda pattern, text: (pattern.match(text), pattern.fullmatch(text)))


@pytest.mark.parametrize("pattern", SEARCHED, ids=lambda pattern: str(pattern.pattern))
def test_searching_takes_linear_time(pattern: re.Pattern[Any]) -> None:
    assert not slow_inputs(pattern, lambda pattern, text: pattern.findall(text))


def test_a_quadratic_pattern_is_noticed() -> None:
    pattern = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
    assert slow_inputs(pattern, lambda pattern, text: pattern.findall(text), ['\\"'])
