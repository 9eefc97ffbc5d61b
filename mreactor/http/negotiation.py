"""Content negotiation (RFC 9110 section 12.5): what of an offer a client prefers. Pure functions."""

import re
from collections.abc import Sequence

# Elements of a list that are read; the rest is ignored. Browsers send up to ten.
ELEMENTS_MAX = 64

# An element with its weight (RFC 9110 section 12.4.2). Other parameters, such as `level=1`, are not told apart.
_ELEMENT = re.compile(r"[ \t]*+([^\s;,]++)[ \t]*+(?:;(.*+))?", re.ASCII | re.DOTALL)
_WEIGHT = re.compile(r"(?:^|;)[ \t]*+[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*+(?:;|$)", re.ASCII)
_HAS_WEIGHT = re.compile(r"(?:^|;)[ \t]*+[qQ][ \t]*+=", re.ASCII)

_ALIASES = {"x-gzip": "gzip"}


def parse_weights(field: str) -> dict[str, float]:
    """Return the elements of Accept or Accept-Encoding in lower case, each with its weight from 0 to 1.

    Elements with a malformed weight are left out. Of a repeated element the first counts.
    """
    weights: dict[str, float] = {}
    for element in field.split(",", ELEMENTS_MAX)[:ELEMENTS_MAX]:
        match = _ELEMENT.fullmatch(element)
        if match is None:
            continue
        name, parameters = match[1].lower(), match[2] or ""
        weight = _WEIGHT.search(parameters)
        if weight is not None:
            weights.setdefault(name, float(weight[1]))
        elif not _HAS_WEIGHT.search(parameters):
            weights.setdefault(name, 1.0)
    return weights


def rank_codings(field: str, offered: Sequence[str]) -> tuple[str, ...]:
    """Return the content codings that a client likes as much as none at all, most welcome first (section 12.5.3).

    Args:
        field: the value of Accept-Encoding.
        offered: the codings at hand; of equally welcome ones the first comes first.
    """
    weights = {_ALIASES.get(name, name): weight for name, weight in parse_weights(field).items()}
    rest, least = weights.get("*", 0.0), weights.get("identity", 0.0)
    ranked = sorted(offered, key=lambda coding: -weights.get(coding, rest))
    return tuple(coding for coding in ranked if 0 < weights.get(coding, rest) >= least)


def choose_type(field: str, offered: Sequence[str]) -> str:
    """Return the media type to send: the most welcome one, of equals the first (RFC 9110 section 12.5.1).

    Args:
        field: the value of Accept; empty if there is none.
        offered: the media types at hand, in lower case and without parameters; the first one is sent to clients that
            accept none of them.
    """
    weights = parse_weights(field)
    best, best_weight = offered[0], 0.0
    for media_type in offered:
        kind = media_type.partition("/")[0] + "/*"
        weight = next((weights[name] for name in (media_type, kind, "*/*") if name in weights), 0.0)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best
