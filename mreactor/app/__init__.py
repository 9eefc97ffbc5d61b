"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .directories import mount_directories
from .document_root import check_root
from .handler_checks import RouteError
from .recognition import adapt
from .route_times import RouteTimes
from .router import Endpoint, Match, Route, Router, UnknownMethod
from .scope import ErrorKind, ErrorResponder, HandlerFailure
from .send_file import send_file
from .static_files import StaticFiles
from .static_options import StaticOptions

__all__ = [
    "App", "Endpoint", "ErrorKind", "ErrorResponder", "Handler", "HandlerFailure", "Match", "Route", "RouteError",
    "RouteTimes", "Router", "StaticFiles", "StaticOptions", "UnknownMethod", "adapt", "check_root", "mount_directories",
    "send_file",
]  # fmt: skip
