"""Where the attribute names of the request path lie in the interpreter's type cache.

Free-threaded CPython 3.13 looks up each `x.name` in one table of 4096 places that all threads share. The place is made
of the version of the type of `x` and the address of the name. Two mentions with one place drive each other out of it,
and each time the lock of all types is taken. With four reactors one process of three had such a pair on the request
path: it made 5 to 90 calls of futex and sched_yield in 1,000 requests, where others made none, and served up to a tenth
fewer requests. `module.x` is such a mention as well: `x` is looked for in the type of modules first.

A class that is changed gets a new version, and with it other places for all its names: so classes are given new
versions until no two of them share a place (`separate_hot_classes`). Names of one class that share a place share it under each
version: so names are interned at addresses that differ where it matters, before anything brings them (`intern_apart`, for
`names`).

The layout is that of one version of the interpreter (Objects/typeobject.c, MCACHE_HASH). It is tried out before it is
relied upon. Python 3.14 looks up elsewhere.
"""

import ctypes
import gc
import select
import socket
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType, ModuleType

CACHE_SLOTS = 4096
VERSION_OFFSET = 400  # of PyTypeObject.tp_version_tag, on 64 bits
COPIES_MAX = 200  # of a name, of which one lies well; 1 or 2 are the rule
BUMPS_MAX = 400  # of the 1000 versions that a class may have in its life

# Types of the interpreter, whose versions are fixed: the others go round their names.
FIXED = (
    bytes, bytearray, memoryview, str, int, list, dict, deque, type, type(None), socket.SocketType, select.epoll
)  # fmt: skip

# What is looked up without being written: by a call of a class, and by isinstance.
UNWRITTEN = ("__init__", "__class__")


# Classes of the request path, with the methods that a request passes through. Filled by `hot` at import, then read only.
HOT: dict[type, tuple[str, ...]] = {}


def hot[C: type](*methods: str) -> Callable[[C], C]:
    """Mark a class of the request path: its attribute names must not collide in the type cache.

    Args:
        methods: the methods that the commonest requests pass through: a new connection, its first request, and the
            requests after it. None for a class whose attributes other classes' methods mention.

    Raises:
        AttributeError: the class has no such method, so a renamed method is found at import.
    """

    def mark(cls: C) -> C:
        for method in methods:
            getattr(cls, method)
        HOT[cls] = methods
        return cls

    return mark


def intern_apart(names: Collection[str]) -> list[str]:
    """Intern names at addresses that keep them clear of each other in the cache, whatever the class.

    A name that was interned before stays where it lies, and that it was is known only when it is interned. So those
    come first that are likely to be known, and the others go round them.

    Returns:
        the names that were not interned before.
    """
    taken: set[int] = set()
    passed_over = []  # and kept, so that the next copy lies elsewhere
    placed = []
    mentioned = mentioned_so_far()
    for name in sorted(names, key=lambda name: (name not in mentioned, name.startswith("_"), len(name))):
        for _ in range(COPIES_MAX):
            copy = "".join(list(name))
            if address_part(copy) not in taken:
                break
            passed_over.append(copy)
        interned = sys.intern(copy)
        taken.add(address_part(interned))
        if interned is copy:
            placed.append(interned)
    return placed


def mentioned_so_far() -> set[str]:
    """Names in the modules, classes and functions that there are: most of those that are interned already."""
    names: set[str] = set()
    for known in gc.get_objects():
        # Not by isinstance: that asks objects what they are, and some of a program's do much to answer.
        kind = type(known)
        try:
            if kind is FunctionType:
                names.update(known.__code__.co_names)
            elif kind is ModuleType or issubclass(kind, type):
                names.update(vars(known))
        except RuntimeError:
            continue  # another thread is changing it
    return names


def separate_hot_classes(path: Mapping[type, Collection[str]] = HOT) -> int | None:
    """Give classes versions by which the names that their methods mention keep clear of each other.

    Args:
        path: methods by their classes, as `hot` collects them.

    Returns:
        how many mentions still share a place with another one; None where the interpreter's ways are not known.
    """
    if not is_known():
        return None
    mentioned = {*UNWRITTEN, *attribute_names_used(path)}
    fixed = {(cls, name) for cls in FIXED for name in mentioned & {"__class__", *vars(cls)}}
    taken = [cache_slot(cls, name) for cls, name in fixed.union(lookups_on_metatypes(path))]
    for cls in _in_order(path):
        names = mentioned & set(attributes(cls))
        occupied = set(taken)
        for _ in range(BUMPS_MAX):
            if occupied.isdisjoint(cache_slot(cls, name) for name in names):
                break
            bump_version(cls)
        taken += [cache_slot(cls, name) for name in names]
        for name in names:
            getattr(cls, name, None)  # into the cache, before all threads ask for it at once
    return len(taken) - len(set(taken))


def _in_order(classes: Collection[type]) -> Iterator[type]:
    """Bases before their subclasses, whose versions end with theirs; else those with many names first.

    A class with few names finds free slots more easily.
    """
    done: set[type] = set()
    for cls in sorted(classes, key=lambda cls: -len(set(attributes(cls)))):
        for base in reversed(cls.__mro__):
            if base in classes and base not in done:
                done.add(base)
                yield base


def attribute_names_used(path: Mapping[type, Collection[str]]) -> Iterator[str]:
    """The attribute names, and others, that methods mention."""
    for function in functions(path):
        yield from function.__code__.co_names


def lookups_on_metatypes(path: Mapping[type, Collection[str]]) -> Iterator[tuple[type, str]]:
    """What methods mention of modules and classes: it is looked for in the type of these first, by way of the cache."""
    for function in functions(path):
        names = function.__code__.co_names
        for owner in map(function.__globals__.get, names):
            if isinstance(owner, ModuleType | type):
                yield from ((type(owner), name) for name in names if hasattr(owner, name))


def functions(path: Mapping[type, Collection[str]]) -> Iterator[FunctionType]:
    """The methods, and nothing that was put in their place."""
    found = (getattr(cls, method) for cls, methods in path.items() for method in methods)
    return (function for function in found if isinstance(function, FunctionType))


def attributes(cls: type) -> Iterator[str]:
    """What instances of a class of our own answer to: methods, slots, and what the methods assign."""
    for base in cls.__mro__[:-1]:
        yield from vars(base)
        yield from vars(base).get("__static_attributes__", ())


def cache_slot(cls: type, name: str) -> int:
    """Where a type and a name meet in the cache."""
    return (version(cls) ^ address_part(sys.intern(name))) % CACHE_SLOTS


def address_part(name: str) -> int:
    """What a name contributes to its places."""
    return (id(name) >> 3) % CACHE_SLOTS


def version(cls: type) -> int:
    """A type's version."""
    getattr(cls, "no such name", None)  # a lookup gives one to a type that has none
    return version_tag(cls)


def version_tag(cls: type) -> int:
    """What stands where a type keeps its version; 0 between a change and the next lookup."""
    return ctypes.c_uint32.from_address(id(cls) + VERSION_OFFSET).value


def bump_version(cls: type) -> None:
    """Have a class and its subclasses get new versions, by a change that changes nothing."""
    cls.__doc__ = cls.__doc__


def is_known() -> bool:
    """Whether this interpreter keeps its types' versions where they are looked for."""
    is_free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    is_cpython_3_13 = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 13)
    if not is_cpython_3_13 or not is_free_threaded or sys.maxsize < 2**32:
        return False
    probe = type("Probe", (), {})
    first = version(probe)
    bump_version(probe)
    return version_tag(probe) == 0 < first < version(probe)
