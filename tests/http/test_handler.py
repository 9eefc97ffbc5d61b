"""Handlers as Python functions: what is found behind a callable, and how it is named."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest

from mreactor.http.handler import describe_handler, underlying_function


def plain(request: object) -> str:
    return "plain"


class Page:
    def __call__(self, request: object) -> str:
        return "called"

    def show(self, request: object) -> str:
        return "shown"

    @staticmethod
    def static(request: object) -> str:
        return "static"


class Indirect:
    __call__ = Page()


@wraps(plain)
def wrapped(request: object) -> str:
    return plain(request)


@pytest.mark.parametrize(
    ("handler", "function"),
    [
        (plain, plain),
        (partial(partial(plain), None), plain),
        (Page().show, Page.show),
        (partial(Page().show, None), Page.show),
        (Page.static, Page.static),
        (Page(), Page.__call__),
        (partial(Page()), Page.__call__),
        (wrapped, wrapped),
        (Page, None),
        (len, None),
        (Indirect(), None),
        ([], None),
        (None, None),
    ],
)
def test_underlying_function(handler: Any, function: Callable[..., Any] | None) -> None:
    assert underlying_function(handler) is function


@pytest.mark.parametrize(
    ("handler", "name"),
    [(plain, "plain"), (partial(Page().show), "Page.show"), (Page(), "Page.__call__"), (wrapped, "plain")],
)
def test_a_handler_is_named_with_file_and_line(handler: Any, name: str) -> None:
    code = {"plain": plain, "Page.show": Page.show, "Page.__call__": Page.__call__}[name].__code__
    assert describe_handler(handler) == f"{name} ({__file__}, line {code.co_firstlineno})"


def test_a_handler_without_python_code_is_shown_as_it_is() -> None:
    assert describe_handler(len) == "<built-in function len>"
