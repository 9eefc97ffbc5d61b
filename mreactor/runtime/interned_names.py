"""Intern the package's attribute names before its modules do, at addresses that do not collide. See docs/decisions/006.

The names stand in attribute_names.txt, which `scripts/attribute-names --write` generates from the package's sources. A
name that is missing there lies where it falls.
"""

import os

from .type_cache import intern_apart, is_known

LIST = "attribute_names.txt"


def intern_listed_names() -> list[str]:
    """Intern the listed names apart. Return those that were not interned before."""
    return intern_apart(listed_names()) if is_known() else []


def listed_names() -> list[str]:
    """Return the names in the list; none if it cannot be read.

    The module's loader reads from a folder and from an archive. `importlib.resources` does it the same way, but first
    imports some thirty modules, which intern names of their own.
    """
    get_data = getattr(__spec__.loader, "get_data", None)
    try:
        data: bytes = get_data(os.path.join(os.path.dirname(__file__), LIST)) if get_data else b""
    except OSError:
        return []
    return data.decode("ascii").split()
