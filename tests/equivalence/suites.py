"""What is played: each suite's server and scripts."""

from collections.abc import Iterator, Sequence
from itertools import chain

from .adversarial import adversarial_scripts
from .compare import Suite
from .conversations import CONVERSATIONS, ENDINGS, FULL, HASTY
from .messages import MESSAGES, Source, corpus_scripts
from .script import Script

# Late bytes are read for long: no reset may destroy a response that is to be compared.
LINGERING = ("--linger-seconds=30", "--linger-bytes-max=16777216")
# Small, so that random messages reach them.
SMALL = (
    "--request-line-bytes-max=512",
    "--head-bytes-max=2048",
    "--fields-max=20",
    "--body-bytes-max=5000",
    "--pipelined-per-turn-max=4",
    "--sendfile-bytes-min=600",
    *LINGERING,
)
SHORT = (
    "--head-seconds=1",
    "--body-grace-seconds=1.4",
    "--body-rate-min=2000",
    "--keepalive-seconds=1.8",
    "--body-bytes-max=90000",
    "--buffered-bytes-max=1024",
    "--blocking-threads=1",
    "--blocking-queue-max=1",
    *LINGERING,
)


def suites(messages: int, seed: int, etags: Sequence[bytes]) -> list[Suite]:
    """Return all suites; `messages` generated ones are among them."""

    def message_scripts() -> Iterator[Script]:
        source = Source(seed, etags)
        return map(source.script, range(-(-messages // MESSAGES)))

    return [
        Suite("conversations", (*SMALL, "served:app"), lambda: CONVERSATIONS),
        Suite("deadlines and caps", (*SHORT, "served:app"), lambda: HASTY),
        Suite("full server", ("--connections-max=4", "served:app"), lambda: FULL),
        Suite("endings", (*SMALL, "served:app"), lambda: ENDINGS, apart=True),
        Suite("adversarial", (*LINGERING, "served:echoes"), adversarial_scripts),
        Suite("messages", (*SMALL, "served:app"), lambda: chain(corpus_scripts(), message_scripts())),
    ]
