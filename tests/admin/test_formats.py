"""Which text format of the metrics a client gets."""

import pytest

from mreactor.admin.endpoints import choose_format
from mreactor.metrics import OPENMETRICS, PROMETHEUS


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/html, nonsense;q=x, ;;", PROMETHEUS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0,text/plain", PROMETHEUS),
        ("application/openmetrics-text;q=x,text/plain;q=0.1", PROMETHEUS),
        ("application/*", OPENMETRICS),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.4", PROMETHEUS),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPENMETRICS,
        ),
    ],
)
def test_the_format_follows_the_accept_field(accept: str, form: str) -> None:
    assert choose_format(accept) == form
