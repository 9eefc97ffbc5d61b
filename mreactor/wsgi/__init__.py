"""WSGI (PEP 3333): calls of applications that know nothing of mreactor. They run in the thread pool."""

from .exchange import Application
from .handler import WSGIHandler
from .recognition import Interface, interface_of

__all__ = ["Application", "Interface", "WSGIHandler", "interface_of"]
