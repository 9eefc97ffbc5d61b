"""The limit on open files: raised for this process and all that it starts, or refused in plain words."""

import resource


class Refused(Exception):
    """The machine does not allow what the run needs; says how much it allows."""


def allow_open_files(needed: int) -> None:
    """Raise the soft limit to at least `needed`; children inherit it.

    Refused where the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Refused(f"needs {needed} open files in one process, the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
