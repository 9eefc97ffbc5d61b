"""Certificates for tests, made by the openssl command: an authority, and what it has signed.

They are made once a session, in a folder that goes away with the process.
"""

import atexit
import shutil
import ssl
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
RSA_KEY = ("-newkey", "rsa:2048")
HOST = "server.test"


class Pair(NamedTuple):
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """The options of the command line that name this pair."""
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


class Authority:
    """An authority that signs certificates."""

    def __init__(self, folder: Path, name: str = "Authority") -> None:
        self.folder = folder
        self._name = name.lower()
        self.certificate = folder / f"{self._name}.pem"
        self._key = folder / f"{self._name}.key"
        self._config = folder / "openssl.cnf"
        # The system's own would add extensions.
        self._config.write_text("[req]\ndistinguished_name = names\n[names]\n")
        openssl(
            "req", "-x509", *EC_KEY, "-nodes", "-subj", f"/CN={name}", "-days", "3650", "-config", str(self._config),
            "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-addext", "subjectKeyIdentifier=hash",
            "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def sign(self, *names: str, kind: tuple[str, ...] = EC_KEY, file: str = "", days: int = 3650) -> Pair:
        """Make a key and sign a certificate for host names; without any it has only a subject."""
        file = file or (names[0].replace("*", "any") if names else "nameless")
        pair = Pair(self.folder / f"{self._name}-{file}.pem", self.folder / f"{self._name}-{file}.key")
        alternatives = [f"IP:{name}" if name[0].isdigit() else f"DNS:{name}" for name in names]
        openssl(
            "req", "-x509", *kind, "-nodes", "-subj", f"/CN={names[0] if names else file}", "-days", str(days),
            *(("-addext", "subjectAltName=" + ",".join(alternatives)) if names else ()),
            "-CA", str(self.certificate), "-CAkey", str(self._key),
            "-config", str(self._config), "-addext", "basicConstraints=critical,CA:false",
            "-addext", "subjectKeyIdentifier=hash", "-addext", "authorityKeyIdentifier=keyid",
            "-keyout", str(pair.key), "-out", str(pair.certificate),
        )  # fmt: skip
        return pair


def openssl(*arguments: str) -> str:
    """Run the openssl command; return its standard output. Skip the test where there is none."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl: the command is not installed")
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def authority() -> Authority:
    """The session's authority."""
    folder = tempfile.mkdtemp(prefix="mreactor-certificates-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(Path(folder))


@cache
def server_pair() -> Pair:
    """The certificate of a server on the loopback."""
    return authority().sign(HOST, "localhost", "127.0.0.1")


@cache
def client_pair() -> Pair:
    """The certificate of a client."""
    return authority().sign("client.test")


def client_context(pair: Pair | None = None, **attributes: object) -> ssl.SSLContext:
    """Make a client's context that trusts the authority.

    Args:
        pair: the client's own certificate.
        attributes: set on the context, such as `maximum_version`.
    """
    context = ssl.create_default_context(cafile=str(authority().certificate))
    if pair is not None:
        context.load_cert_chain(*pair)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context
