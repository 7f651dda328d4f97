"""Telephone numbers: which digits in groups are one, and which measure, count or name something else.

What a number can be in a country is libphonenumber's word; whether it is one here is told by its form and its line.
"""

from __future__ import annotations

import functools
import re

PHONE = re.compile(
    r"(?<![\w.,+$€£/-])(?:"
    # North America: 10 digits in groups of 3, 3 and 4, perhaps with the country's 1.
    r"(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\)[ /-]?|[2-9]\d{2}[-. ]|[2-9]\d{2}/(?=\d{3}[-.]))[2-9]\d{2}[-. ]\d{4}"
    # Anywhere: a plus sign, or the digits dialled for it, a country's code, then 6 to 12 more digits in groups
    # (ITU-T E.164: 15 digits at most).
    r"|(?:\+|00 ?|011[ -])[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}"
    # Within a country: groups, the first perhaps in brackets.
    r"|(?:\(\d{2,5}\) ?|\d{2,5}[ ./-])\d{2,8}(?:[ .-]\d{2,5}){0,4}"
    r")(?![\w-]|[.,/]\d)"
)
_SPOKEN = re.compile(
    r"\b(?:(?:tele)?phone|telefono|teléfono|téléphone|telefon|tel|fax|mobile|cell|call|dial|ring|text|sms|whatsapp|voice|contact"
    r"|reach|hotline)\b",
    re.IGNORECASE,
)
"""What stands before a telephone number that could be something else."""
_NAMED = re.compile(r"\b(?:my|your|his|her|its|our|their|home|office|work) (?:\w+ )?number\b", re.IGNORECASE)
_DECIMAL = re.compile(r"\+\d+[.,]\d+")
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
_BESIDE = re.compile(r"[ ,/-]*\d")
_TRUNK = ("GB", "AU", "DE", "IT", "NL", "JP")
"""Countries whose numbers are known by their groups alone, in the order of the question."""


def is_phone(match: re.Match[str]) -> bool:
    """Whether what PHONE found is a telephone number, not measurements, a decimal or a range in its form."""
    shown = match.group()
    if not 8 <= sum(map(str.isdigit, shown)) <= 17:
        return False
    before = match.string[max(0, match.start() - 32) : match.start()]
    if _MEASURING.search(before) or _MEASURED.match(match.string, match.end()):
        return False
    if shown.startswith("+"):
        return _abroad(shown, before)
    dialled = re.match(r"00 ?(?=[1-9])|011[ -]", shown)
    if dialled:
        # Digits in one run may number anything.
        grouped = not shown[dialled.end() :].isdigit()
        return (grouped or _spoken_of(before)) and _valid_abroad("+" + shown[dialled.end() :])
    if _american(shown):
        return _at_home(match, before)
    return _national(match, before)


def _abroad(shown: str, before: str) -> bool:
    if sum(map(str.isdigit, shown)) > 15:
        return False
    if _DECIMAL.fullmatch(shown) and not (_registry_form(shown) and _SPOKEN.search(before)):
        return False
    return (shown.startswith(("+1 ", "+1-")) and len(re.findall(r"\d+", shown)) == 4) or _valid_abroad(shown)


def _american(shown: str) -> bool:
    groups = [len(group) for group in re.findall(r"\d+", shown)]
    return groups in ([3, 3, 4], [1, 3, 3, 4]) and not shown.lstrip("(").startswith("0")


def _at_home(match: re.Match[str], before: str) -> bool:
    """Ten digits as North America writes them; with only spaces between, the line has to speak of a telephone."""
    shown = match.group()
    groups = re.findall(r"\d+", shown)
    # 250 500 1000: one such triple in a thousand is a telephone number.
    if all(int(group) % 10 == 0 for group in groups[-3:]) or (" " in shown and _NEIGHBOUR.search(before)):
        return False
    return any(sign in shown for sign in "(-./") or _spoken_of(before) or _alone(match)


def _national(match: re.Match[str], before: str) -> bool:
    """A number in the form and groups of a country, where its line speaks of a telephone or it begins with a 0."""
    shown = match.group()
    if sum(map(str.isdigit, shown)) > 13 or _NEIGHBOUR.search(before) or _BESIDE.match(match.string, match.end()):
        return False
    groups = tuple(re.findall(r"\d+", shown))
    if all(int(group) % 100 == 0 or re.fullmatch("1[5-9]..|20..", group) for group in groups):
        return False  # Round numbers and years.
    if _spoken_of(before):
        return any(_grouped_as(groups, region) for region in _regions())
    # Pairs are dates, times and lottery numbers more often than telephones.
    pairs = all(len(group) == 2 for group in groups)
    return shown.lstrip("(").startswith("0") and not pairs and any(_grouped_as(groups, each) for each in _TRUNK)


def _spoken_of(before: str) -> bool:
    return _SPOKEN.search(before) is not None or _NAMED.search(before) is not None


def _alone(match: re.Match[str]) -> bool:
    """Whether it has its line to itself, and the lines around it are no numbers."""
    text, start, end = match.string, match.start(), match.end()
    line = text[text.rfind("\n", 0, start) + 1 : start] + text[end : (text.find("\n", end) + 1 or len(text) + 1) - 1]
    above, below = text[max(0, start - 40) : start].rstrip(), text[end : end + 40].lstrip()
    return not line.strip() and bool(above or below) and not above[-1:].isdigit() and not below[:1].isdigit()


@functools.cache
def _regions() -> tuple[str, ...]:
    import phonenumbers

    return tuple(sorted(phonenumbers.SUPPORTED_REGIONS))


@functools.lru_cache(4096)
def _grouped_as(groups: tuple[str, ...], region: str) -> bool:
    """Whether it is a number there (libphonenumber), its digits in the groups in which the country writes them."""
    import phonenumbers

    try:
        number = phonenumbers.parse("".join(groups), region)
    except phonenumbers.NumberParseException:
        return False
    if not phonenumbers.is_valid_number(number):
        return False
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    return tuple(re.findall(r"\d+", written)) == groups


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
