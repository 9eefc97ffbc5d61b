"""Applications: routes, handlers and static files."""

from ..http import Handler
from .application import App
from .document_root import check_root
from .router import Endpoint, Match, Route, RouteError, Router
from .static_files import StaticFiles

__all__ = ["App", "Endpoint", "Handler", "Match", "Route", "RouteError", "Router", "StaticFiles", "check_root"]
