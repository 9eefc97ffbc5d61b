"""A stream in memory for log lines, which a thread writes."""

import io

from mreactor.logs import flush
from tests.support.drivers import PATIENCE_SECONDS


class Lines(io.StringIO):
    """A stream in memory. Its value is complete: it holds all lines that were logged so far."""

    def getvalue(self) -> str:
        flush(PATIENCE_SECONDS)
        return super().getvalue()
