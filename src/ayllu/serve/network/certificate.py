"""HTTPS: the user's certificate, or one that is made here, kept in the home and known by its fingerprint."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ayllu.lab.error import UserError
from ayllu.lab.store import storage_told

DAYS = 397
"""A certificate lives so long: browsers refuse public ones that live longer, and some refuse any."""
RENEW_DAYS = 30
"""One that ends sooner is made anew."""
ALWAYS = ("localhost", "127.0.0.1", "::1")


def check_pair(certificate: Path, key: Path) -> None:
    """Raise UserError where the two files are not a certificate (with its chain) and its private key, both PEM."""
    for path, what in ((certificate, "--certificate"), (key, "--certificate-key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise UserError(f"{what} {path} cannot be read ({error.strerror}); give a PEM file") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refuse_password() -> bytes:
        raise UserError(
            f"--certificate-key {key} is encrypted; decrypt it with `openssl pkey`, readable by its owner only"
        )

    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except (ssl.SSLError, ValueError) as error:
        raise UserError(f"{certificate} and {key} are not a PEM certificate and its private key; give both") from error


def self_made(home: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """A certificate for localhost, this machine's name and `names`, and its private key, both kept in the home.

    It is made anew where it lacks a name or is about to end. Raises UserError where the home cannot be written to.
    """
    certificate, key = home / "tls" / "certificate.pem", home / "tls" / "key.pem"
    wanted = list(dict.fromkeys((*ALWAYS, socket.gethostname(), *(_plain(name) for name in names))))
    wanted = [name for name in wanted if name not in ("", "0.0.0.0", "::")]
    if not _serves(certificate, key, wanted):
        with storage_told(home, "the certificate"):
            certificate.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(certificate, key, wanted)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate of a PEM file, as browsers and openssl show it."""
    digest = x509.load_pem_x509_certificate(certificate.read_bytes()).fingerprint(hashes.SHA256())
    return ":".join(f"{byte:02X}" for byte in digest)


def _serves(certificate: Path, key: Path, wanted: Sequence[str]) -> bool:
    try:
        check_pair(certificate, key)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (UserError, ValueError, x509.ExtensionNotFound):
        return False
    names = {str(entry.value) for entry in alternatives}
    lasts = found.not_valid_after_utc - datetime.now(UTC) > timedelta(days=RENEW_DAYS)
    return lasts and names >= set(wanted)


def _make(certificate: Path, key: Path, names: Sequence[str]) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ayllu")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        # Who imports it trusts this server only: it can sign no other certificate.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    _write(key, private.private_bytes(encoding, form, plain), 0o600)
    _write(certificate, made.public_bytes(encoding), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    sibling = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        sibling.unlink()
    with os.fdopen(os.open(sibling, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    sibling.replace(path)


def _plain(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
