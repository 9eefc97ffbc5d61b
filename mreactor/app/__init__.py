"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .document_root import check_root
from .route_times import RouteTimes
from .router import Match, Route, RouteError, Router
from .scope import ErrorResponder, HandlerFailure
from .send_file import send_file
from .static_files import StaticFiles

__all__ = [
    "App", "ErrorResponder", "Handler", "HandlerFailure", "Match", "Route", "RouteError", "RouteTimes", "Router", "StaticFiles",
    "check_root", "send_file",
]  # fmt: skip
