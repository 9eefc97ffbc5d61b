"""HTTP dates: IMF-fixdate out, all three formats in (RFC 9110 section 5.6.7). They do not depend on the locale."""

import calendar
import re
import threading
import time

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_MONTH = "|".join(MONTHS)
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_IMF_FIXDATE = rf"[A-Z][a-z]{{2}}, (?P<day>\d\d) (?P<month>{_MONTH}) (?P<year>\d{{4}}) {_CLOCK} GMT"
_RFC_850 = rf"[A-Z][a-z]{{5,8}}, (?P<day>\d\d)-(?P<month>{_MONTH})-(?P<year>\d\d) {_CLOCK} GMT"
_ASCTIME = rf"[A-Z][a-z]{{2}} (?P<month>{_MONTH}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})"
_FORMATS = tuple(re.compile(pattern, re.ASCII) for pattern in (_IMF_FIXDATE, _RFC_850, _ASCTIME))


_rendered = threading.local()


def note_date(seconds: float) -> None:
    """Note the Date that the responses of this thread carry from now on, in Unix time."""
    _rendered.second = int(seconds)


def noted_date() -> int | None:
    """Return what this thread has noted. None in a thread that renders no dates, such as one of the pool."""
    second: int | None = getattr(_rendered, "second", None)
    return second


def format_date(seconds: float) -> str:
    """Render an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT`.

    Args:
        seconds: Unix time.
    """
    t = time.gmtime(seconds)
    return (
        f"{DAYS[t.tm_wday]}, {t.tm_mday:02} {MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def parse_date(text: str) -> int | None:
    """Return the Unix time of an HTTP date in any of the three formats; None if the text is not one.

    The day's name is not compared with the date: RFC 9110 asks recipients to be robust.
    """
    for pattern in _FORMATS:
        if match := pattern.fullmatch(text):
            return _seconds(match)
    return None


def _seconds(match: re.Match[str]) -> int | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _century(year)
    day, month = int(match["day"]), MONTHS.index(match["month"]) + 1
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    # Second 60 is a leap second. Unix time has none, so it becomes the next minute's first.
    if year < 1 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def _century(two_digits: int) -> int:
    """Return the full year. One that is more than 50 years ahead lies in the past (RFC 9110 section 5.6.7)."""
    this_year = time.gmtime().tm_year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year
