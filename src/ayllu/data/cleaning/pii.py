"""Masks over personal data: e-mail and IP addresses, telephone, payment card, bank account and social security numbers.

Each pattern is followed by the check that its numbers carry (Luhn, mod 97, address ranges), because a mask over a year
or a score harms the text more than it protects anyone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from ayllu.data.cleaning.iban import IBAN, iban_valid
from ayllu.data.cleaning.phones import PHONE, is_phone

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]+\.)+[^\W\d_]{2,24}\b")
_CARD = re.compile(
    r"(?<![\w.,+-])(?:"
    # In fours, as on most cards; or 4, 6 and 5 digits, as on American Express.
    r"[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}"
    r")(?![\w-]|[.,]\d)"
)
_SSN = re.compile(r"(?<![\w.+-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|\.\d)")
_IPV4 = re.compile(r"(?<![\w.])(?<![^\d]-)(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d|-(?!(?:\d{1,3}\.){3}\d))")
_IPV6 = re.compile(
    r"(?<![\w:.])(?:"
    # What is given out to the public (2000::/3), and version four within six: mapped, and by NAT64 (RFC 6052).
    r"[23][0-9a-f]{3}:(?:[0-9a-f]{0,4}:){1,6}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4})"
    r"|(?:(?:::|(?:0{1,4}:){5})ffff:|64:ff9b::)(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{1,4}:[0-9a-f]{1,4})"
    r")(?![\w:]|\.\d)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?i:\b(?:versions?|v|ver\.|EC|release|section|chapter|build|firmware|OID|rev(?:ision)?|patch|update|driver|kernel"
    r"|\w*OS|Android|Windows|Linux|Chrome|Firefox|Safari|Java|Python|Node)\.? *$)"
    # A name: capitals beyond a word's first letter, or a capital after a word in small letters.
    r"|\b\w*[^\W\d_][A-Z]\w* +$|(?<=[a-z,] )[A-Z]\w*[ -]+$"
)
"""What stands before four numbers with dots that are no address."""
SMALL = 32
"""Four numbers below this are a version or a paragraph, unless something near them speaks of a network."""
_NETWORK = re.compile(
    r"\b(?:ip(?:v4)?|address\w*|servers?|hosts?|dns|ping|port|router|gateway|subnet|network|proxy|https?|ssh|ftp"
    r"|log(?:ged|in|s)?|connect\w*|traceroute|domain|client|visitor)\b",
    re.IGNORECASE,
)
MARKS = ("<email>", "<iban>", "<card>", "<ssn>", "<ip>", "<phone>")


def mask(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text with marks in the place of personal data, and what was found: (mark, what stood there)."""
    found: list[tuple[str, str]] = []
    if "@" in text:
        text = _replace(text, _EMAIL, "<email>", found, _any)
    if not any(map(str.isdigit, text)):
        return text, found
    for pattern, mark, check in _CHECKED:
        text = _replace(text, pattern, mark, found, check)
    return text, found


def luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _card(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match.group())
    return 13 <= len(digits) <= 19 and len(set(digits)) > 2 and luhn(digits)


def _address(match: re.Match[str]) -> bool:
    """Whether it is an address of the public internet, not a version number in its form.

    A router's 192.168.0.1 is in every manual and nobody's own, so private addresses stay.
    """
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return (_within(address) or address).is_global
    if not address.is_global:
        return False
    named = _NUMBERED.search(match.string[max(0, match.start() - 24) : match.start()])
    if named:
        return _NETWORK.fullmatch(named.group().strip(" -")) is not None
    around = match.string[max(0, match.start() - 60) : match.end() + 60]
    spoken = _NETWORK.search(around) is not None or match.string[match.end() : match.end() + 1] in (":", "/")
    return spoken or max(address.packed) >= SMALL


def _within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address of version four that one of version six stands for."""
    nat64 = ipaddress.IPv6Network("64:ff9b::/96")
    return address.ipv4_mapped or (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in nat64 else None)


def _any(match: re.Match[str]) -> bool:
    return True


_Check = Callable[[re.Match[str]], bool]
_CHECKED: tuple[tuple[re.Pattern[str], str, _Check], ...] = (
    (IBAN, "<iban>", lambda match: iban_valid(match.group())),
    (_CARD, "<card>", _card),
    (_SSN, "<ssn>", _any),
    # First what may hold the other's form.
    (_IPV6, "<ip>", _address),
    (_IPV4, "<ip>", _address),
    (PHONE, "<phone>", is_phone),
)


def _replace(text: str, pattern: re.Pattern[str], mark: str, found: list[tuple[str, str]], check: _Check) -> str:
    def mark_or_keep(match: re.Match[str]) -> str:
        if not check(match):
            return match.group()
        found.append((mark, match.group()))
        return mark

    return pattern.sub(mark_or_keep, text)
