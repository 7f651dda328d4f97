"""Masks over personal data: e-mail and IP addresses, telephone, payment card, bank account and social security numbers.

Each pattern is followed by the check that its numbers carry (Luhn, mod 97, address ranges), because a mask over a year
or a score harms the text more than it protects anyone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]+\.)+[^\W\d_]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_CARD = re.compile(
    r"(?<![\w.,+-])(?:"
    # In fours, as on most cards; or 4, 6 and 5 digits, as on American Express.
    r"[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}"
    r")(?![\w-]|[.,]\d)"
)
_SSN = re.compile(r"(?<![\w.+-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|\.\d)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.,+$€£/-])(?:"
    # North America: 10 digits in groups of 3, 3 and 4, perhaps with the country's 1.
    r"(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}"
    # Anywhere: a plus sign, a country's code, then 6 to 12 more digits in groups (ITU-T E.164: 15 digits at most).
    r"|\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}"
    r")(?![\w-]|[.,/]\d)"
)
_NUMBERED = re.compile(
    r"\b(?:versions?|v|ver\.|EC|release|section|chapter|build|firmware|OID|rev(?:ision)?|patch|update|driver|kernel"
    r"|\w*OS|Android|Windows|Linux|Chrome|Firefox|Safari|Java|Python|Node)\.? *$",
    re.IGNORECASE,
)
"""What stands before four numbers with dots that are no address."""
SMALL = 32
"""Four numbers below this are a version or a paragraph, unless something near them speaks of a network."""
_NETWORK = re.compile(
    r"\b(?:ip(?:v4)?|address\w*|servers?|hosts?|dns|ping|port|router|gateway|subnet|network|proxy|https?|ssh|ftp"
    r"|log(?:ged|in|s)?|connect\w*|traceroute|domain|client|visitor)\b",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"\+\d+[.,]\d+")
_SPOKEN = re.compile(r"\b(?:(?:tele)?phone|telefon|tel|fax|mobile|cell|call|ring|voice|contact)\b", re.IGNORECASE)
"""What stands before a telephone number that could be a decimal."""
_MEASURED = re.compile(
    r" ?(?:%|°|(?:k|c|m|µ)?m\b|k?g\b|met(?:re|er)s?\b|kilo|miles?\b|feet\b|ft\b|lit(?:re|er)s?\b|ml\b"
    r"|euros?\b|dollars?\b|pounds?\b|USD\b|EUR\b|people\b|years?\b|pieces\b|points?\b|degrees?\b|watts?\b|volts?\b|rpm\b)",
    re.IGNORECASE,
)
"""What stands behind numbers that measure something."""
_MEASURING = re.compile(
    r"\b(?:ISO|latitude|longitude|lat|lon(?:g)?|coordinates?|sizes?|range|scores?|pages?|ratio|temperature|ASA)"
    r"[:=]? *$",
    re.IGNORECASE,
)
_NEIGHBOUR = re.compile(r"\d[ ,/-]*$")

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


def iban_valid(text: str) -> bool:
    """The check of an IBAN (ISO 13616): its first four characters last, letters from A = 10, it leaves 1 modulo 97."""
    compact = text.replace(" ", "").upper()
    if not 15 <= len(compact) <= 34 or not compact.isascii() or not compact.isalnum():
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


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
    before = match.string[max(0, match.start() - 16) : match.start()]
    if not address.is_global or _NUMBERED.search(before):
        return False
    if address.version == 6 or max(address.packed) >= SMALL:
        return True
    around = match.string[max(0, match.start() - 60) : match.end() + 60]
    return _NETWORK.search(around) is not None or match.string[match.end() : match.end() + 1] in (":", "/")


def _phone(match: re.Match[str]) -> bool:
    """Whether digits in groups are a telephone number, not measurements, a decimal or a range in its form."""
    shown = match.group()
    if not 8 <= sum(map(str.isdigit, shown)) <= 15:
        return False
    before = match.string[max(0, match.start() - 24) : match.start()]
    if _MEASURING.search(before) or _MEASURED.match(match.string, match.end()):
        return False
    groups = re.findall(r"\d+", shown)
    if not shown.startswith("+"):
        # 250 500 1000: one such triple in a thousand is a telephone number.
        round_ = all(int(group) % 10 == 0 for group in groups[-3:])
        return not round_ and not (" " in shown and _NEIGHBOUR.search(before))
    if _DECIMAL.fullmatch(shown) and not (_registry_form(shown) and _SPOKEN.search(before)):
        return False
    return (shown.startswith(("+1 ", "+1-")) and len(groups) == 4) or _valid_abroad(shown)


def _valid_abroad(shown: str) -> bool:
    """Whether a number with a country's code can be one there (libphonenumber)."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(shown, None))
    except phonenumbers.NumberParseException:
        return False


def _registry_form(shown: str) -> bool:
    """Whether it is a number as domain registries write it, +CODE.NUMBER (RFC 5733), whose point follows the code."""
    import phonenumbers

    return int(re.split(r"[.,]", shown)[0]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE


def _any(match: re.Match[str]) -> bool:
    return True


_Check = Callable[[re.Match[str]], bool]
_CHECKED: tuple[tuple[re.Pattern[str], str, _Check], ...] = (
    (_IBAN, "<iban>", lambda match: iban_valid(match.group())),
    (_CARD, "<card>", _card),
    (_SSN, "<ssn>", _any),
    (_IPV4, "<ip>", _address),
    (_IPV6, "<ip>", _address),
    (_PHONE, "<phone>", _phone),
)


def _replace(text: str, pattern: re.Pattern[str], mark: str, found: list[tuple[str, str]], check: _Check) -> str:
    def mark_or_keep(match: re.Match[str]) -> str:
        if not check(match):
            return match.group()
        found.append((mark, match.group()))
        return mark

    return pattern.sub(mark_or_keep, text)
