"""Conversions between units, by the exact definitions (NIST SP 811, appendix B; IEC 80000-13 for binary prefixes)."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from ayllu.assistant.tools.calculator import evaluate, show
from ayllu.assistant.tools.tool import ToolError, ToolResult

_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "millimetre mm millimeter": "0.001",
        "centimetre cm centimeter": "0.01",
        "metre m meter": "1",
        "kilometre km kilometer": "1000",
        "inch in inches": "0.0254",
        "foot ft feet": "0.3048",
        "yard yd": "0.9144",
        "mile mi": "1609.344",
        "nautical_mile nmi": "1852",
    },
    "mass": {
        "milligram mg": "0.000001",
        "gram g gramme": "0.001",
        "kilogram kg kilo": "1",
        "tonne t": "1000",
        "ounce oz": "0.028349523125",
        "pound lb lbs": "0.45359237",
        "stone st": "6.35029318",
    },
    "volume": {
        "millilitre ml milliliter": "0.001",
        "centilitre cl centiliter": "0.01",
        "decilitre dl deciliter": "0.1",
        "litre l liter": "1",
        "teaspoon tsp": "0.00492892159375",
        "tablespoon tbsp": "0.01478676478125",
        "cup": "0.2365882365",
        "pint pt": "0.473176473",
        "quart qt": "0.946352946",
        "gallon gal": "3.785411784",
        "cubic_metre m3": "1000",
    },
    "time": {
        "second s sec": "1",
        "minute min": "60",
        "hour h hr": "3600",
        "day d": "86400",
        "week wk": "604800",
    },
    "speed": {
        "km/h kph kmh": "5/18",
        "m/s": "1",
        "mph": "0.44704",
        "knot kn kt": "1852/3600",
    },
    "area": {
        "square_metre m2 sqm": "1",
        "square_kilometre km2": "1000000",
        "square_foot sqft": "0.09290304",
        "hectare ha": "10000",
        "acre": "4046.8564224",
    },
    "data": {
        "bit": "1/8",
        "byte b": "1",
        "kilobyte kb": "1000",
        "megabyte mb": "1000000",
        "gigabyte gb": "1000000000",
        "terabyte tb": "1000000000000",
        "kibibyte kib": "1024",
        "mebibyte mib": "1048576",
        "gibibyte gib": "1073741824",
    },
    "energy": {
        "joule j": "1",
        "kilojoule kj": "1000",
        "calorie cal": "4.184",
        "kilocalorie kcal": "4184",
        "kilowatt_hour kwh": "3600000",
    },
    "pressure": {"pascal pa": "1", "bar": "100000", "atmosphere atm": "101325", "psi": "6894.757293168"},
    "angle": {"degree deg": "1", "radian rad": "57.29577951308232"},
}
"""In each kind: names of a unit, the first one shown, and its size in the kind's own unit. US customary volumes."""
_TEMPERATURES = {"celsius": ("1", "0"), "fahrenheit": ("5/9", "-160/9"), "kelvin": ("1", "-273.15")}
"""Degrees Celsius are the value times the first, plus the second."""
_DEGREES = {
    "c": "celsius",
    "°c": "celsius",
    "f": "fahrenheit",
    "°f": "fahrenheit",
    "k": "kelvin",
    "centigrade": "celsius",
}


def _known() -> dict[str, tuple[str, str, Fraction]]:
    found = {}
    for kind, units in _TABLE.items():
        for names, size in units.items():
            first = names.split()[0].replace("_", " ")
            for name in names.split():
                found[name.replace("_", " ")] = (kind, first, Fraction(evaluate(size)))
    return found


_UNITS = _known()


def convert(amount: str, from_unit: str, to_unit: str) -> ToolResult:
    """Convert an amount from one unit to another: lengths, weights, volumes, temperatures, speeds, times and data.

    Parameters
    ----------
    amount
        The number.
    from_unit
        Its unit, such as miles.
    to_unit
        The unit that is wanted, such as km.
    """
    value = Fraction(evaluate(amount))
    if (one := temperature(from_unit)) and (other := temperature(to_unit)):
        scale, zero = (Fraction(evaluate(part)) for part in _TEMPERATURES[one])
        wanted, offset = (Fraction(evaluate(part)) for part in _TEMPERATURES[other])
        result, names = (value * scale + zero - offset) / wanted, (f"degrees {one.title()}", f"degrees {other.title()}")
    else:
        kind, first, size = unit(from_unit)
        other_kind, second, other_size = unit(to_unit)
        if kind != other_kind:
            raise ToolError(f"{from_unit} measures {kind} and {to_unit} measures {other_kind}: they do not convert")
        result, names = value * size / other_size, (plural(first, value), "")
        names = (names[0], plural(second, result))
    shown = show(result, digits=8)
    return ToolResult(text=f"{shown} {names[1]}", say=f"{show(value)} {names[0]} is {shown} {names[1]}.")


def unit(name: str) -> tuple[str, str, Fraction]:
    """Kind, shown name and size of a unit; ToolError where there is none of that name."""
    plain = (
        name.strip()
        .lower()
        .rstrip(".")
        .replace("_", " ")
        .replace("sq ", "square ")
        .replace("kilometers per hour", "km/h")
    )
    plain = {"kilometres per hour": "km/h", "miles per hour": "mph", "metres per second": "m/s"}.get(plain, plain)
    for tried in (plain, plain.removesuffix("s"), plain.removesuffix("es"), plain.replace("feet", "foot")):
        if tried in _UNITS:
            return _UNITS[tried]
    raise ToolError(f"{name[:40]!r} is no unit that is known here")


def temperature(name: str) -> str | None:
    """The scale of temperature that `name` says."""
    plain = re.sub(r"\bdegrees?\b|°\s*", "", name.strip().lower()).strip()
    plain = _DEGREES.get(plain, plain)
    return plain if plain in _TEMPERATURES else None


def plural(name: str, value: Fraction) -> str:
    """The name of a unit behind a number."""
    if value == 1 or "/" in name or name in ("mph", "psi", "bar"):
        return name
    special = {"inch": "inches", "foot": "feet", "square foot": "square feet", "stone": "stone"}
    return special.get(name, f"{name}s")


def units_in(words: str) -> list[str]:
    """The words of a message that are units, in their order."""
    tokens = re.findall(r"[A-Za-z°/0-9]+", words)
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(tokens)]
    found = []
    for token in [*pairs, *tokens]:
        if temperature(token):
            found.append(token)
            continue
        try:
            unit(token)
        except ToolError:
            continue
        if not token.isdigit():
            found.append(token)
    return list(dict.fromkeys(found))
