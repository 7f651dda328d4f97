"""A phone is paired by a QR code: the address, and a key that lives as long as the server."""

from __future__ import annotations

import io
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ayllu.lab.error import UserError
from ayllu.serve.access.keys import KeyStore
from ayllu.serve.network.listen import url

LASTS = 24 * 3600
"""Seconds after which the key ends, should the server be killed before it takes the key back."""
SCOPES = ("generate", "audio", "models")
ANYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): the way to them shows which address others see; nothing is sent."""


@contextmanager
def pairing_key(home: Path) -> Iterator[str]:
    """A key for one phone, which is taken back at the end."""
    store = KeyStore(home)
    text, key = store.add(f"glasses {secrets.token_hex(3)}", scopes=SCOPES, expires=int(time.time()) + LASTS)
    try:
        yield text
    finally:
        store.revoke(key.id)


def reachable(host: str) -> str:
    """The address at which a phone in the same network reaches a server that listens on `host`."""
    family = ANYWHERE.get(host)
    if family is None:
        return host
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OUTSIDE[family], 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def pairing_link(host: str, port: int, key: str) -> str:
    """What the code says; the key is behind the #, which browsers send to nobody."""
    return f"{url(host, port, scheme='https')}/glasses#key={key}"


def qr_code(text: str) -> str:
    """A QR code for a terminal. Raises UserError where the package for it is missing."""
    try:
        import segno
    except ModuleNotFoundError:
        raise UserError("pairing needs segno; run: pip install 'ayllu[glasses]'") from None
    out = io.StringIO()
    segno.make(text, error="l").terminal(out, compact=True)
    return out.getvalue()
