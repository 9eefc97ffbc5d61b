"""What applications are made of: routes, handlers, static files."""

from .application import App
from .router import Handler, Match, Route, RouteError, Router
from .static_files import StaticFiles, check_root

__all__ = ["App", "Handler", "Match", "Route", "RouteError", "Router", "StaticFiles", "check_root"]
