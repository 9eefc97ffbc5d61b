"""HTTP dates: the form sent, and the three forms read."""

import calendar
import random
import time

import pytest

from mreactor.http.dates import format_date, parse_date

EXAMPLE = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (EXAMPLE, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (EXAMPLE + 0.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (2**31, "Tue, 19 Jan 2038 03:14:08 GMT"),
        (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_format(seconds: float, text: str) -> None:
    assert format_date(seconds) == text


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_all_three_forms_are_read(text: str) -> None:
    assert parse_date(text) == EXAMPLE


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE),  # not a Monday: recipients are robust
        ("Wednesday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        ("Sun Nov 06 08:49:37 1994", EXAMPLE),
        ("Sun Nov 16 08:49:37 1994", EXAMPLE + 10 * 86_400),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),  # a leap second: the next minute's first
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ("Mon, 01 Jan 0001 00:00:00 GMT", calendar.timegm((1, 1, 1, 0, 0, 0))),
    ],
)
def test_odd_dates_are_read(text: str, seconds: int) -> None:
    assert parse_date(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "784111777",
        "now",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 November 1994 08:49:37 GMT",
        "Sun, 06 Abc 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 11994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1900 00:00:00 GMT",
        "Sun, 29 Feb 2023 00:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
        "Sun, \u00b26 Nov 1994 08:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "A" * 32_000,
    ],
)
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize(("ahead", "century"), [(0, 0), (1, 0), (49, 0), (50, 0), (51, -100), (99, -100)])
def test_two_digit_years_are_at_most_50_years_ahead(monkeypatch: pytest.MonkeyPatch, ahead: int, century: int) -> None:
    """RFC 9110 section 5.6.7: what appears to lie further ahead is in the past."""
    this_year = time.struct_time((2000, 7, 1, 0, 0, 0, 5, 183, 0))
    monkeypatch.setattr(time, "gmtime", lambda *_: this_year)
    year = 2000 + ahead + century
    assert parse_date(f"Saturday, 01-Jul-{ahead:02} 00:00:00 GMT") == calendar.timegm((year, 7, 1, 0, 0, 0))


def test_what_is_sent_is_read_again() -> None:
    rng = random.Random(1994)
    for _ in range(2000):
        seconds = rng.randrange(-62_135_596_800, 253_402_300_800)
        assert parse_date(format_date(seconds)) == seconds


def test_asctime_is_read_as_the_c_library_writes_it() -> None:
    rng = random.Random(850)
    for _ in range(200):
        seconds = rng.randrange(0, 2**32)
        assert parse_date(time.asctime(time.gmtime(seconds))) == seconds
