"""Keep the attribute names of the request path apart in the interpreter's type cache. See docs/decisions/005.

CPython 3.13t looks up each `x.name` in one table of 4096 slots that all threads share. The version of the type of `x`
and the address of the name select the slot. Two uses of one slot evict each other, and each miss takes the lock of all
types. `module.name` is such a use as well: the interpreter first looks for `name` in the type of modules.

- Two classes: a changed class gets a new version, so `separate_hot_classes` changes classes until no slot is shared.
- Two names of one class: only their addresses can part them, so `intern_apart` interns names at distinct addresses.

The layout is that of one interpreter version (Objects/typeobject.c, MCACHE_HASH). `is_known` verifies it first.
"""

import ctypes
import gc
import select
import socket
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from types import FunctionType, ModuleType

from .interpreter import IS_FREE_THREADED

CACHE_SLOTS = 4096
# The offset of PyTypeObject.tp_version_tag on 64 bits.
VERSION_OFFSET = 400
# How many copies of a name are made until one lies apart. One or two are the rule.
COPIES_MAX = 200
# A class may have 1000 versions in its life.
BUMPS_MAX = 800

# Types of the interpreter. Their versions never change, so the other classes go round their names.
FIXED = (
    bytes, bytearray, memoryview, str, int, list, dict, deque, type, type(None), socket.SocketType, select.epoll
)  # fmt: skip

# Names that the interpreter looks up by itself: in a call of a class, and in isinstance.
IMPLICIT_NAMES = ("__init__", "__class__")


def intern_apart(names: Collection[str]) -> list[str]:
    """Intern names at addresses that do not collide in the cache, whatever the class.

    A name that was interned before keeps its address, and only interning reveals that. So names that are probably
    interned come first, and the others go round them.

    Returns:
        the names that were not interned before.
    """
    taken: set[int] = set()
    # Rejected copies stay alive, so that the next copy lies elsewhere.
    rejected = []
    placed = []
    known = names_in_use()
    for name in sorted(names, key=lambda name: (name not in known, name.startswith("_"), len(name))):
        for _ in range(COPIES_MAX):
            copy = "".join(list(name))
            if address_part(copy) not in taken:
                break
            rejected.append(copy)
        interned = sys.intern(copy)
        taken.add(address_part(interned))
        if interned is copy:
            placed.append(interned)
    return placed


def names_in_use() -> set[str]:
    """Return the names in existing modules, classes and functions: most of the names that are interned already."""
    names: set[str] = set()
    for candidate in gc.get_objects():
        # Not isinstance: it reads `__class__`, and a proxy object may run code for that.
        kind = type(candidate)
        try:
            if kind is FunctionType:
                names.update(candidate.__code__.co_names)
            elif kind is ModuleType or issubclass(kind, type):
                names.update(vars(candidate))
        except RuntimeError:
            # Another thread changed it during the iteration.
            continue
    return names


def separate_hot_classes(path: Mapping[type, Collection[str]]) -> int | None:
    """Give classes new versions until the names that their methods use do not collide.

    Call it before other threads use the classes.

    Args:
        path: methods by class, as `hot` collects them.

    Returns:
        how many uses still share a slot with another one; None if the interpreter's layout is unknown.
    """
    if not is_known():
        return None
    used = {*IMPLICIT_NAMES, *attribute_names_used(path)}
    fixed = {(cls, name) for cls in FIXED for name in used & {"__class__", *vars(cls)}}
    taken = [cache_slot(cls, name) for cls, name in fixed.union(lookups_on_metatypes(path))]
    for cls in _by_difficulty(path):
        names = used & set(attributes(cls))
        occupied = set(taken)
        for _ in range(BUMPS_MAX):
            if occupied.isdisjoint(cache_slot(cls, name) for name in names):
                break
            bump_version(cls)
        taken += [cache_slot(cls, name) for name in names]
        for name in names:
            # Fill the cache now, before all threads miss at once.
            getattr(cls, name, None)
    return len(taken) - len(set(taken))


def _by_difficulty(classes: Collection[type]) -> Iterator[type]:
    """Yield classes with many names first, and bases before their subclasses.

    A class with few names finds free slots more easily. A new version of a base ends those of its subclasses.
    """
    done: set[type] = set()
    for cls in sorted(classes, key=lambda cls: -len(set(attributes(cls)))):
        for base in reversed(cls.__mro__):
            if base in classes and base not in done:
                done.add(base)
                yield base


def attribute_names_used(path: Mapping[type, Collection[str]]) -> Iterator[str]:
    """Yield the attribute names and global names that methods use."""
    for function in functions(path):
        yield from function.__code__.co_names


def lookups_on_metatypes(path: Mapping[type, Collection[str]]) -> Iterator[tuple[type, str]]:
    """Yield what methods look up in modules and classes. The lookup begins with the type of the module or class."""
    for function in functions(path):
        names = function.__code__.co_names
        for owner in map(function.__globals__.get, names):
            if isinstance(owner, ModuleType | type):
                yield from ((type(owner), name) for name in names if hasattr(owner, name))


def functions(path: Mapping[type, Collection[str]]) -> Iterator[FunctionType]:
    """Yield the methods that are plain functions."""
    found = (getattr(cls, method) for cls, methods in path.items() for method in methods)
    return (function for function in found if isinstance(function, FunctionType))


def attributes(cls: type) -> Iterator[str]:
    """Yield the attribute names of a Python class: methods, slots, and what methods assign."""
    for base in cls.__mro__[:-1]:
        yield from vars(base)
        yield from vars(base).get("__static_attributes__", ())


def cache_slot(cls: type, name: str) -> int:
    """Return the slot of a type and a name."""
    return (version(cls) ^ address_part(sys.intern(name))) % CACHE_SLOTS


def address_part(name: str) -> int:
    """Return what a name's address contributes to its slots."""
    return (id(name) >> 3) % CACHE_SLOTS


def version(cls: type) -> int:
    """Return a type's version."""
    # A lookup assigns a version to a type that has none.
    getattr(cls, "no such name", None)
    return version_tag(cls)


def version_tag(cls: type) -> int:
    """Return the number at the place of a type's version. It is 0 between a change and the next lookup."""
    return ctypes.c_uint32.from_address(id(cls) + VERSION_OFFSET).value


def bump_version(cls: type) -> None:
    """Make the interpreter assign new versions to a class and its subclasses."""
    cls.__doc__ = cls.__doc__


def is_known() -> bool:
    """Return whether this interpreter keeps its types' versions at the known place."""
    is_cpython_3_13 = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 13)
    if not is_cpython_3_13 or not IS_FREE_THREADED or sys.maxsize < 2**32:
        return False
    probe = type("Probe", (), {})
    first = version(probe)
    bump_version(probe)
    return version_tag(probe) == 0 < first < version(probe)
