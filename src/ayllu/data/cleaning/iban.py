"""International bank account numbers (ISO 13616): how long each country's is, and the check that it carries."""

from __future__ import annotations

import re

# The registry of ISO 13616, and the countries beside it that use the form (schwifty 2026.10.1 has the same lengths).
_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "AO CV GW LY MZ PT ST",
    26: "DZ IR IS TR",
    27: "BI CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM TD",
    28: "AL AZ BF BJ BY CI CY DO GT HU LB MA ML NE NI PL SN SV TG",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTH = {country: length for length, names in _BY_LENGTH.items() for country in names.split()}
_GAP = "[ \u00a0\u202f-]?"


def _form(length: int, countries: str) -> str:
    """In fours, perhaps with a gap between them, and what is left; a gap may follow the country too."""
    fours, rest = divmod(length - 4, 4)
    end = f"{_GAP}[A-Z0-9]{{{rest}}}" if rest else ""
    return rf"(?:{'|'.join(countries.split())}){_GAP}\d{{2}}(?:{_GAP}[A-Z0-9]{{4}}){{{fours}}}{end}"


IBAN = re.compile(
    rf"(?<![A-Z0-9])(?=[A-Z]{{2}}{_GAP}\d\d)(?:{'|'.join(_form(*each) for each in _BY_LENGTH.items())})(?![A-Z0-9])",
    re.IGNORECASE | re.ASCII,
)


def iban_valid(text: str) -> bool:
    """Whether it is as long as its country's and, first four characters last, A = 10, it leaves 1 modulo 97."""
    compact = re.sub(_GAP, "", text).upper()
    if not compact.isascii() or not compact.isalnum() or _LENGTH.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1
