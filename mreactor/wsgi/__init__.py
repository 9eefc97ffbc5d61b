"""WSGI (PEP 3333): calls of applications that know nothing of mreactor, in the thread pool or a reactor's thread."""

from .exchange import Application
from .handler import WSGIHandler
from .recognition import Interface, interface_of

__all__ = ["Application", "Interface", "WSGIHandler", "interface_of"]
