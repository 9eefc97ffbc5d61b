"""Whether requests are observed. What that takes is loaded only then: see docs/decisions/095."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..config import Config

if TYPE_CHECKING:
    from .observation import Observation


def observation_maker(config: Config) -> "Callable[[], Observation] | None":
    """Return what makes the observation of a reactor, in its thread; None if the configuration asks for none.

    Call it before the threads start, because it may import.
    """
    if not (config.request_id_header or (config.logs_requests and config.log_fields)):
        return None
    # The classes would take places in the type cache of every server.
    from .observation import Observation

    has_ids = bool(config.request_id_header) or "request-id" in config.log_fields
    return partial(Observation, config.request_id_header, config.trusted_proxies, has_ids=has_ids)
