"""What each case sends whose requests differ, and one whose requests do not. Plain values."""

from collections.abc import Callable

from bench.kinds import AGENT, BROWSER, COOKIE, EDGE, HOST, TRACED, Traffic, in_turn, kind, order
from bench.mix import mixed

JSON_FIELDS = (
    HOST,
    AGENT,
    "Accept: application/json",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Content-Type: application/json",
    *TRACED,
)


def repeated_head() -> Traffic:
    """As many fields as `unique_head` has, and none of them is ever new."""
    return in_turn(kind("GET", "/", (*BROWSER, *EDGE)))


def unique_head() -> Traffic:
    return in_turn(kind("GET", "/", (*BROWSER, *TRACED)))


def unique_path() -> Traffic:
    return in_turn(kind("GET", "/hello/<number0>", (*BROWSER, *EDGE)))


def unique_query() -> Traffic:
    return in_turn(kind("GET", "/search?q=<hex0>&page=<number1>", (*BROWSER, *EDGE)))


def unique_post() -> Traffic:
    """Orders of some 1 KiB as JSON, of various lengths."""
    orders = (order(lines=9, note="n" * (20 + 7 * number)) for number in range(16))
    return in_turn(*(kind("POST", "/orders", JSON_FIELDS, content) for content in orders))


def cookies() -> Traffic:
    return in_turn(kind("GET", "/session", (*BROWSER, COOKIE)))


TRAFFIC: dict[str, Callable[[], Traffic]] = {
    "unique-head": unique_head,
    "unique-path": unique_path,
    "unique-query": unique_query,
    "unique-post": unique_post,
    "cookies": cookies,
    "mixed": mixed,
    "repeated-head": repeated_head,
}
