"""The stream `wsgi.errors`: what applications write goes to standard error."""

import sys
from collections.abc import Iterable


class ErrorStream:
    """Standard error as it is at the moment; nothing if it is closed. Any thread may write."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Write text; an encoding or a pipe that cannot take it does not fail the request."""
        if sys.stderr is not None:
            try:
                return sys.stderr.write(text)
            except (OSError, ValueError):
                pass
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Hand over what is buffered."""
        if sys.stderr is not None:
            try:
                sys.stderr.flush()
            except (OSError, ValueError):
                pass
