"""The application of the admin listener. Its handlers only read, and run in the admin reactor's thread."""

import ipaddress
import math
import time
from collections.abc import Collection

from ..app import App
from ..http import HTML, TEXT, HTTPError, Request, Response, choose_type
from ..metrics import OPENMETRICS, PROMETHEUS, render_text, stats
from .page import load_page
from .status import ServerStatus, SnapshotCache

# Responses, errors among them, are valid for one moment, and no other site may use them.
FIELDS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

# The text formats of metrics by their media types; the first one is for clients that say nothing.
FORMATS = {"text/plain": PROMETHEUS, "application/openmetrics-text": OPENMETRICS}


def make_app(status: ServerStatus, names: Collection[str] | None = None) -> App:
    """Create the application that reports on a server.

    Args:
        names: host names that requests may be addressed to, in lower case; None for all. See `is_addressed_to`.
    """
    app = App()
    snapshots = SnapshotCache(status)
    page, policy = load_page()

    @app.before
    def check_host(request: Request) -> None:
        if names is not None and not is_addressed_to(request.headers.get("host", ""), names):
            raise HTTPError(421, "Open this page by an address, by localhost, or by the name in --admin.")

    @app.after
    def protect(request: Request, response: Response) -> None:
        for name, value in FIELDS:
            response.headers[name] = value

    @app.get("/", constant=True)
    def live_page(request: Request) -> Response:
        return Response(page, headers={"Content-Security-Policy": policy}, content_type=HTML)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        content_type = choose_format(request.headers.get("accept", ""))
        return Response(render_text(snapshots.get(), content_type), content_type=content_type)

    @app.get("/stats.json")
    def json_stats(request: Request) -> Response:
        return Response(stats(snapshots.get()))

    @app.get("/healthz")
    def health(request: Request) -> Response:
        return Response("ok\n")

    @app.get("/readyz")
    def readiness(request: Request) -> Response:
        reasons = status.unready_reasons(time.monotonic(), _read_wait(request))
        if not reasons:
            cause = status.gil_cause()
            return Response(f"ready\n{cause}\n" if cause else "ready\n")
        return Response("".join(f"{reason}\n" for reason in reasons), 503, content_type=TEXT)

    return app


def _read_wait(request: Request) -> float:
    """Return the seconds of `/readyz?pool=SECONDS`; infinite if the pool does not count.

    Raises:
        HTTPError: 400, it is not a number.
    """
    given = request.query.get("pool")
    try:
        return math.inf if given is None else float(given)
    except ValueError:
        raise HTTPError(400, "The parameter pool is a number of seconds.") from None


def choose_format(accept: str) -> str:
    """Return the text format that suits an Accept field: OpenMetrics only if the client prefers it to plain text."""
    return FORMATS[choose_type(accept, tuple(FORMATS))]


def is_addressed_to(host: str, names: Collection[str]) -> bool:
    """Return whether a Host field holds an IP address, one of `names`, or nothing.

    Another site may let its own name point to this machine. A browser then takes this listener for that site and lets
    its scripts read the metrics (DNS rebinding). That takes a name. Clients that send no Host are no browsers.
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    name = name.lower().removesuffix(".")
    if not name or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
