"""Cookies (RFC 6265bis): what a request sends, and the fields that set and delete them. Pure functions."""

import re
from datetime import datetime
from typing import Literal

from .dates import format_date
from .grammar import TOKEN

type SameSite = Literal["Strict", "Lax", "None"]

_SAME_SITE = ("Strict", "Lax", "None")

# Browsers ignore a cookie whose name and value are longer, and an attribute that is (section 5.6).
PAIR_BYTES_MAX = 4096
ATTRIBUTE_BYTES_MAX = 1024

_NAME = re.compile(TOKEN.decode("ascii"), re.ASCII)
# Section 4.1.1: no controls, spaces, quotes, commas, semicolons and backslashes.
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*+")
_PATH = re.compile(r"/[ -:<-~]*+")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*+)")


def parse_cookies(field: str) -> list[tuple[str, str]]:
    """Return the names and values of a Cookie field, in order. A pair without `=` has no name and is left out."""
    cookies = []
    for pair in field.split(";"):
        name, equals, value = pair.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if equals and name:
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            cookies.append((name, value))
    return cookies


def render_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None,
    expires: datetime | None,
    path: str,
    domain: str,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
) -> str:
    """Render the value of a Set-Cookie field.

    Raises:
        ValueError: a name, value or attribute that browsers would misread or ignore; the text says which.
    """
    _check_pair(name, value)
    _check_prefix(name, path=path, domain=domain, secure=secure)
    if same_site not in _SAME_SITE:
        raise ValueError(f"same_site={same_site!r} is not one of {', '.join(_SAME_SITE)}")
    if not secure and (same_site == "None" or partitioned):
        raise ValueError(f"browsers refuse the cookie {name} without secure=True")
    parts = [f"{name}={value}"]
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    if expires is not None:
        parts.append(f"Expires={_format_expiry(expires)}")
    parts += [f"Path={_check_attribute('path', path, _PATH)}"]
    if domain:
        parts.append(f"Domain={_check_attribute('domain', domain, _DOMAIN)}")
    parts += [word for word, is_set in (("Secure", secure), ("HttpOnly", http_only)) if is_set]
    parts.append(f"SameSite={same_site}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def _check_pair(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a cookie")
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value of the cookie {name} cannot be sent: {value!r}; encode it, with urllib.parse.quote"
        )
    if len(name) + len(value) > PAIR_BYTES_MAX:
        raise ValueError(f"the cookie {name} is longer than {PAIR_BYTES_MAX} bytes, so browsers ignore it")


def _check_prefix(name: str, *, path: str, domain: str, secure: bool) -> None:
    """Check what the prefix of a name promises (section 4.1.3)."""
    prefix = name.lower()
    if prefix.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"browsers refuse the cookie {name} without secure=True")
    if prefix.startswith("__host-") and (path != "/" or domain):
        raise ValueError(f"browsers refuse the cookie {name} with a domain, or a path other than /")


def _check_attribute(name: str, value: str, shape: re.Pattern[str]) -> str:
    if not shape.fullmatch(value) or len(value) > ATTRIBUTE_BYTES_MAX:
        raise ValueError(f"the {name} of a cookie cannot be {value!r}")
    return value


def _format_expiry(expires: datetime) -> str:
    if expires.tzinfo is None:
        raise ValueError("a cookie expires at a time with a time zone, such as datetime.now(UTC) + timedelta(days=1)")
    return format_date(int(expires.timestamp()))
