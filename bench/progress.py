"""The progress line of a long run, on the error stream: rewritten in place on a terminal, one line a step
elsewhere."""

import sys
import time
from typing import TextIO


class Progress:
    """Counts steps and says how long the rest will take. Owned by the harness's only thread."""

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        self.steps = steps
        self.done = 0
        self.stream = stream or sys.stderr
        self.begun = time.monotonic()

    def step(self, words: str) -> None:
        """One more step is done; `words` say what it gave."""
        self.done += 1
        self.show(f"[{self.done}/{self.steps}{self.remaining()}] {words}")

    def skip(self, steps: int) -> None:
        """So many steps will not be made."""
        self.steps -= steps

    def show(self, words: str) -> None:
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[K{words}")
        else:
            self.stream.write(words + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Leave the terminal's line empty for what comes next."""
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")

    def remaining(self) -> str:
        """The time left if the coming steps are like the past ones; nothing once all is done."""
        seconds = (time.monotonic() - self.begun) / self.done * (self.steps - self.done)
        if seconds < 1:
            return ""
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"
