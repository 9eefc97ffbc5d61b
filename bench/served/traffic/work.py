"""What the handlers compute. Pure functions; standard library only, for Python 3.10 and later."""

from typing import Any

WELCOME = "Welcome to mreactor"
PARAGRAPH = "<p>The quick brown fox jumps over the lazy dog, and the dog does not mind at all.</p>\n"
PAGE_PARAGRAPHS = 60
ORDERS = 8


def greet(name: str) -> str:
    return f"Hello, {name}!"


def tell_results(wanted: str, page: str) -> str:
    return f"Results for {wanted}, page {page}"


def session_id(cookies: str) -> str:
    """The value of the cookie `session`; empty if there is none."""
    for cookie in cookies.split("; "):
        name, _, value = cookie.partition("=")
        if name == "session":
            return value
    return ""


def tell_session(cookies: str) -> str:
    return f"Session {session_id(cookies)}"


def confirm(order: dict[str, Any]) -> dict[str, Any]:
    """The answer to an order: its lines with their prices in cents, and the sum."""
    lines = [line | {"cents": line["quantity"] * line["cents"]} for line in order["lines"]]
    return {
        "order": order["id"],
        "status": "accepted",
        "customer": order["customer"],
        "lines": lines,
        "cents": sum(line["cents"] for line in lines),
        "note": order["note"],
    }


def profile(user: str) -> dict[str, Any]:
    return {
        "id": user,
        "name": f"User {user}",
        "email": f"{user}@example.org",
        "roles": ["reader", "buyer"],
        "active": True,
        "address": {"street": "1 Long Lane", "city": "Springfield", "postcode": "12345", "country": "US"},
    }


def rename(user: str, changed: dict[str, Any]) -> dict[str, Any]:
    """The profile with what the request changes."""
    return profile(user) | changed


def orders(user: str, page: str) -> dict[str, Any]:
    found = [
        {"order": f"{user}-{page}-{number}", "status": "shipped", "cents": 1999 * number, "lines": number}
        for number in range(1, ORDERS + 1)
    ]
    return {"user": user, "page": page, "orders": found}


def html(slug: str) -> str:
    """A page of some 5 KiB."""
    return f"<!doctype html>\n<title>{slug}</title>\n<h1>{slug}</h1>\n{PARAGRAPH * PAGE_PARAGRAPHS}"
