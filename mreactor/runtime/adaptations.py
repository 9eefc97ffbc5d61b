"""The moments at which the server adapts itself to the interpreter and the kernel. README.md here describes each.

The functions do nothing on interpreters that do not need them.
"""

from .allocator import release_empty_pages
from .hot_path import HOT
from .interned_names import intern_listed_names
from .scheduling import use_batch_scheduling
from .type_cache import separate_hot_classes


def at_import() -> list[str]:
    """Intern the package's attribute names, before its other modules are imported. Return those that were new."""
    return intern_listed_names()


def before_threads() -> int | None:
    """Separate the classes of the request path, after all imports and before the first reactor starts.

    Returns:
        how many names still share a slot of the type cache; None where there is nothing to adapt.
    """
    return separate_hot_classes(HOT)


def in_thread(*, batch: bool) -> None:
    """Adapt the calling thread. `batch`: its wake-ups do not interrupt other threads."""
    if batch:
        use_batch_scheduling()


def every_tick() -> None:
    """Release empty pages. Call it a few times a second in each thread that creates and drops many objects."""
    release_empty_pages()
