"""TLS without I/O: connections that decrypt for another protocol's connections, and the certificates that they use."""

from .certificates import Certificates
from .context import TlsContext

__all__ = ["Certificates", "TlsContext"]
