"""The package's attribute names, interned before its modules are, at addresses that keep clear of each other.

The interpreter's type cache (`typecache`) can part two classes that share a place, but never two names of one class:
these meet by their addresses alone, and an address is for the life of the process. So `mreactor/__init__.py` imports
this module first of all. It reads the names from the sources' text, since compiled modules would bring them along.

Without it every process had 1 to 10 such pairs, and one in 25 had one on its request path: 6 to 14 calls of futex and
sched_yield in 1,000 requests. With it 2 of 110 had one, of names that are seldom mentioned. It takes some 15 ms at the
start. Where sources cannot be read (from an archive, say), their names lie where they fall, which costs no more.
"""

import re
from pathlib import Path

from .type_cache import intern_apart, is_known


def attribute_names(text: str) -> set[str]:
    """What is written after a dot in a module's text, in comments too."""
    return set(re.findall(r"\.([A-Za-z_]\w+)", text))


def in_sources(folder: Path) -> set[str]:
    """The attribute names of all modules in a folder and below it that can be read."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        try:
            names |= attribute_names(path.read_text("utf-8", errors="replace"))
        except OSError:
            continue
    return names


INTERNED_APART = intern_apart(in_sources(Path(__file__).parent.parent)) if is_known() else []
