"""Certificates and keys: which one a client gets, what is wrong with files, and what a reload does."""

import logging
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from mreactor.config import Config, ConfigError
from mreactor.tls import Certificates
from tests.support.certificates import RSA_KEY, Authority, Pair, authority, client_context, openssl, server_pair
from tests.support.tls import TlsSession


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good pair, an encrypted key, and files that are no certificates."""
    certificate, key = server_pair()
    shutil.copy(certificate, tmp_path / "good.pem")
    shutil.copy(key, tmp_path / "good.key")
    (tmp_path / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    (tmp_path / "junk.pem").write_bytes(b"\x00junk\xff" * 50)
    (tmp_path / "empty.pem").write_bytes(b"")
    openssl("ec", "-in", str(key), "-aes256", "-passout", "pass:sesame", "-out", str(tmp_path / "secret.key"))
    (tmp_path / "password").write_text("sesame\nsecond line\n")
    (tmp_path / "wrong").write_text("open\n")
    return tmp_path


def load(
    folder: Path, cert: str | tuple[str, ...] = "good.pem", key: str | tuple[str, ...] = "good.key", **more: Any
) -> Certificates:
    """Load files of a folder."""
    certificates, keys = ((names,) if isinstance(names, str) else names for names in (cert, key))
    paths = {"tls_client_ca", "tls_password_file"}
    settings = {name: str(folder / value) if name in paths else value for name, value in more.items()}
    return Certificates(
        Config(
            tls_cert=tuple(str(folder / name) for name in certificates),
            tls_key=tuple(str(folder / name) for name in keys if name),
            **settings,
        )
    )


def subject(certificates: Certificates, name: str = "server.test", context: ssl.SSLContext | None = None) -> str:
    """Shake hands as a client that asks for a name; return the subject of the certificate that it gets."""
    peer = TlsSession(context or unchecked(), name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = certificates.current.wrap_bio(incoming, outgoing, server_side=True)
    for _ in range(4):
        incoming.write(peer.outgoing.read())
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            pass
        peer.receive(outgoing.read())
    assert peer.is_open
    found = peer.session.getpeercert()
    assert found is not None
    return str(dict(*found["subject"])["commonName"])


def unchecked() -> ssl.SSLContext:
    """Return a context of a client that takes any name."""
    return client_context(check_hostname=False)


def complaint(folder: Path, *files: Any, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *files, **more)
    return str(caught.value).replace(str(folder) + "/", "")


# What is wrong with files.


@pytest.mark.parametrize(
    ("cert", "key", "more", "said"),
    [
        ("no.pem", "good.key", {}, "--tls-cert: cannot read no.pem: No such file or directory"),
        (".", "good.key", {}, "--tls-cert: cannot read .: Is a directory"),
        ("good.pem", "no.key", {}, "--tls-key: cannot read no.key: No such file or directory"),
        ("junk.pem", "good.key", {}, "--tls-cert: junk.pem holds no certificate in PEM form"),
        ("empty.pem", "good.key", {}, "--tls-cert: empty.pem holds no certificate in PEM form"),
        ("good.key", "good.key", {}, "--tls-cert: good.key holds no certificate in PEM form"),
        ("good.pem", "junk.pem", {}, "--tls-key: junk.pem holds no private key in PEM form"),
        ("good.pem", "good.pem", {}, "--tls-key: good.pem holds no private key in PEM form"),
        ("good.pem", "", {}, "--tls-key: good.pem holds no private key in PEM form"),
        ("good.pem", "secret.key", {}, "--tls-key: secret.key is encrypted; give its password by --tls-password-file"),
        (
            "good.pem", "secret.key", {"tls_password_file": "wrong"},
            "--tls-key: secret.key cannot be decrypted with this password, or holds no private key in PEM form",
        ),
        (
            "good.pem", "good.key", {"tls_password_file": "none"},
            "--tls-password-file: cannot read none: No such file or directory",
        ),
        (
            "good.pem", "good.key", {"tls_client_ca": "none"},
            "--tls-client-ca: cannot read none: No such file or directory",
        ),
        (
            "good.pem", "good.key", {"tls_client_ca": "junk.pem"},
            "--tls-client-ca: junk.pem holds no certificate in PEM form",
        ),
        ("good.pem", "good.key", {"tls_ciphers": "none"}, "--tls-ciphers: 'none' selects no cipher of TLS 1.2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(folder: Path, cert: str, key: str, more: dict[str, Any], said: str) -> None:
    assert complaint(folder, cert, key, **more).replace(str(folder), ".") == said


@pytest.mark.parametrize("kind", [RSA_KEY, None], ids=["another kind", "the same kind"])
def test_a_key_of_another_certificate(folder: Path, kind: tuple[str, ...] | None) -> None:
    other = (
        authority().sign("other.test", kind=kind, file=f"other-{bool(kind)}")
        if kind
        else authority().sign("other.test")
    )
    shutil.copy(other.key, folder / "other.key")
    assert complaint(folder, "good.pem", "other.key") == "--tls-key: other.key is not the key of good.pem"


def test_a_key_in_the_file_of_the_certificate(folder: Path) -> None:
    assert subject(load(folder, "both.pem", "")) == "server.test"


def test_an_encrypted_key(folder: Path) -> None:
    assert subject(load(folder, "good.pem", "secret.key", tls_password_file="password")) == "server.test"


@pytest.mark.parametrize(("days", "verb"), [(3, "expires"), (100, "")])
def test_a_certificate_that_expires_soon_is_pointed_out(
    folder: Path, days: int, verb: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority().sign("old.test", days=days, file=f"old{days}")
    monkeypatch.setattr(logging.getLogger("mreactor"), "propagate", True)
    with caplog.at_level(logging.WARNING, logger="mreactor"):
        Certificates(Config(tls_cert=(str(pair.certificate),), tls_key=(str(pair.key),)))
    assert [f" {verb} on " in record.getMessage() for record in caplog.records] == [True] * bool(verb)


# Which one a client gets.


@pytest.fixture(scope="module")
def several() -> Certificates:
    """Three certificates: the first one, one of two names, and a wildcard."""
    pairs = [authority().sign("first.test"), authority().sign("b.test", "c.test"), authority().sign("*.d.test")]
    return make(*pairs)


def make(*pairs: Pair) -> Certificates:
    return Certificates(
        Config(tls_cert=tuple(str(pair.certificate) for pair in pairs), tls_key=tuple(str(pair.key) for pair in pairs))
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first.test", "first.test"),
        ("b.test", "b.test"),
        ("B.Test", "b.test"),
        ("c.test", "b.test"),
        ("x.d.test", "*.d.test"),
        ("x.y.d.test", "first.test"),
        ("d.test", "first.test"),
        ("unknown.test", "first.test"),
    ],
)
def test_the_name_chooses_the_certificate(several: Certificates, name: str, expected: str) -> None:
    assert subject(several, name) == expected


def test_a_client_that_names_no_host_gets_the_first(several: Certificates) -> None:
    assert subject(several, None) == "first.test"  # type: ignore[arg-type]


def test_certificates_of_one_name_with_keys_of_two_kinds() -> None:
    both = make(authority().sign("two.test"), authority().sign("two.test", kind=RSA_KEY, file="two-rsa"))
    for ciphers, kind in (("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"), ("ECDHE-RSA-AES128-GCM-SHA256", "RSA")):
        context = unchecked()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        assert subject(both, "two.test", context) == "two.test", kind


# A reload.


def test_a_reload_reads_the_files_again(folder: Path) -> None:
    certificates = load(folder)
    before = certificates.current
    new = authority().sign("new.test")
    shutil.copy(new.certificate, folder / "good.pem")
    shutil.copy(new.key, folder / "good.key")
    assert subject(certificates) == "server.test"
    certificates.reload()
    assert certificates.current is not before
    assert subject(certificates) == "new.test"


def test_a_reload_that_fails_changes_nothing(folder: Path) -> None:
    certificates = load(folder)
    before = certificates.current
    (folder / "good.key").write_text("half a ke")
    with pytest.raises(ConfigError, match="holds no private key"):
        certificates.reload()
    assert certificates.current is before


def test_only_authorities_that_were_named_are_trusted(folder: Path) -> None:
    """The system's own are not asked: a client certificate from anywhere would pass."""
    certificates = load(folder, tls_client_ca="good.pem", tls_client_cert="optional")
    assert len(certificates.current.get_ca_certs()) <= 1
    assert certificates.current.cert_store_stats()["x509"] == 1


def test_an_authority_of_the_tests_signs_what_clients_check(tmp_path: Path) -> None:
    """The other tests would prove little if clients took anything."""
    stranger = Authority(tmp_path, "Stranger").sign("server.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        subject(make(stranger))
