"""The server's certificates and keys, as `ssl.SSLContext`s that all reactors share.

A context is complete before a connection uses it and does not change afterwards: OpenSSL may read it from many threads
at once, but not while it is written. So a reload makes new ones. Connections keep the one that they began with.

Sharing also lets a session that began on one reactor be resumed on another: the keys of the tickets belong to the
context. A client that names another certificate's host (SNI) changes to that one's context during the handshake; the
tickets remain those of the first context.
"""

import logging
import ssl
import time
from typing import Any, NoReturn

from ..config import Config, ConfigError
from .channel import Session

log = logging.getLogger("mreactor")

# For TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 all have both.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
PROTOCOLS = ["http/1.1"]
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
EXPIRES_SOON_SECONDS = 14 * 24 * 3600


class Certificates:
    """What the options of TLS say, loaded. One thread loads; any thread may read `current`.

    Attributes:
        current: the context of new connections, with the first certificate. It knows the contexts of the others.

    Raises:
        ConfigError: a file is missing, malformed or does not fit; the text names it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self.current = self._load()

    def reload(self) -> None:
        """Read all files again, for connections that begin from now on. If that fails, nothing changes.

        Raises:
            ConfigError: as the constructor.
        """
        self.current = self._load()

    def _load(self) -> ssl.SSLContext:
        config = self._config
        password = _read_password(config.tls_password_file)
        contexts: dict[frozenset[str], ssl.SSLContext] = {}
        for certificate, key in zip(config.tls_cert, config.tls_key or config.tls_cert, strict=True):
            names = _check_certificate(certificate)
            # Certificates of the same names with keys of different kinds share a context: OpenSSL chooses the kind.
            if names not in contexts:
                contexts[names] = _make_context(config)
            _load_pair(contexts[names], certificate, key, password)
        first = next(iter(contexts.values()))
        if len(contexts) > 1:
            first.sni_callback = _ContextChooser(contexts)
        return first


class _ContextChooser:
    """Chooses the context by the name that the client asks for: the whole name, then a wildcard, then the first."""

    def __init__(self, contexts: dict[frozenset[str], ssl.SSLContext]) -> None:
        self._by_name: dict[str, ssl.SSLContext] = {}
        for names, context in contexts.items():
            for name in names:
                self._by_name.setdefault(name, context)

    def __call__(self, session: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        """Called by OpenSSL in a reactor's thread during a handshake."""
        if name is None:
            return
        name = name.lower()
        found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if found is not None and found is not first:
            session.context = found


def _make_context(config: Config) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Session
    context.minimum_version = VERSIONS[config.tls_min]
    # A client could make the server compute handshakes without end.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    # Each connection, resumed ones too, brings its client a ticket. A second one costs 5 % of a handshake.
    context.num_tickets = 1
    try:
        context.set_ciphers(config.tls_ciphers or CIPHERS)
    except ssl.SSLError:
        raise ConfigError(f"--tls-ciphers: {config.tls_ciphers!r} selects no cipher of TLS 1.2") from None
    if config.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED if config.tls_client_cert == "required" else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(config.tls_client_ca)
        except ssl.SSLError:
            raise ConfigError(f"--tls-client-ca: {config.tls_client_ca} holds no certificate in PEM form") from None
        except OSError as error:
            _fail_to_read("--tls-client-ca", config.tls_client_ca, error)
    return context


def _check_certificate(path: str) -> frozenset[str]:
    """Return the host names that a certificate is for. Warn if it has expired, or will soon."""
    _check_readable("--tls-cert", path)
    try:
        # No public function reads a certificate from a file.
        fields: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except ssl.SSLError:
        raise ConfigError(f"--tls-cert: {path} holds no certificate in PEM form") from None
    left = ssl.cert_time_to_seconds(fields["notAfter"]) - time.time()
    if left < EXPIRES_SOON_SECONDS:
        log.warning("the certificate %s %s on %s", path, "expired" if left < 0 else "expires", fields["notAfter"])
    names = [value for kind, value in fields.get("subjectAltName", ()) if kind == "DNS"]
    subject = [value for part in fields.get("subject", ()) for kind, value in part if kind == "commonName"]
    return frozenset(name.lower() for name in names or subject)


def _load_pair(context: ssl.SSLContext, certificate: str, key: str, password: bytes | None) -> None:
    _check_readable("--tls-key", key)

    def give_password() -> bytes:
        # Without a function OpenSSL would ask at the terminal.
        if password is None:
            raise ConfigError(f"--tls-key: {key} is encrypted; give its password by --tls-password-file")
        return password

    try:
        context.load_cert_chain(certificate, key, give_password)
    except ssl.SSLError as error:
        if error.reason:
            raise ConfigError(f"--tls-key: {key} is not the key of {certificate}") from None
        what = "cannot be decrypted with this password, or " if password is not None else ""
        raise ConfigError(f"--tls-key: {key} {what}holds no private key in PEM form") from None


def _read_password(path: str) -> bytes | None:
    if not path:
        return None
    _check_readable("--tls-password-file", path)
    with open(path, "rb") as file:
        return file.readline().rstrip(b"\r\n")


def _check_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        _fail_to_read(option, path, error)


def _fail_to_read(option: str, path: str, error: OSError) -> NoReturn:
    raise ConfigError(f"{option}: cannot read {path}: {error.strerror}") from None
