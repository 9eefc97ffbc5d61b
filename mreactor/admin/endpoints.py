"""The application of the admin listener. Its handlers only read, and run in the admin reactor's thread."""

import time

from ..app import App
from ..http import HTML, TEXT, Request, Response
from ..metrics import choose_format, render_text, stats
from .page import load_page
from .status import ServerStatus, SnapshotCache

# Responses are valid for one moment, and no other site may use them.
FIELDS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


def make_app(status: ServerStatus) -> App:
    """Create the application that reports on a server."""
    app = App()
    snapshots = SnapshotCache(status)
    page, policy = load_page()
    page_fields = (*FIELDS, ("Content-Security-Policy", policy))

    @app.get("/", constant=True)
    def live_page(request: Request) -> Response:
        return Response(page, headers=page_fields, content_type=HTML)

    @app.get("/metrics")
    def metrics(request: Request) -> Response:
        content_type = choose_format(request.headers.get("accept", ""))
        return Response(render_text(snapshots.get(), content_type), headers=FIELDS, content_type=content_type)

    @app.get("/stats.json")
    def json_stats(request: Request) -> Response:
        return Response(stats(snapshots.get()), headers=FIELDS)

    @app.get("/healthz")
    def health(request: Request) -> Response:
        return Response("ok\n", headers=FIELDS)

    @app.get("/readyz")
    def readiness(request: Request) -> Response:
        reasons = status.unready_reasons(time.monotonic())
        if not reasons:
            return Response("ready\n", headers=FIELDS)
        return Response("".join(f"{reason}\n" for reason in reasons), 503, FIELDS, content_type=TEXT)

    return app
