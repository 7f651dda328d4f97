"""Dates and times as people write them, in English, and what can be asked about them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from ayllu.assistant.tools.tool import ToolError, ToolResult

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NUMBERS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"a": 1, "an": 1, "half an": 0.5}
UNITS_OF_TIME = {"minute": 60, "min": 60, "hour": 3600, "day": 86_400, "week": 604_800, "fortnight": 1_209_600}
NUMBER = r"(\d+|half an|" + "|".join(NUMBERS) + ")"


class Clock:
    """Tools that know what time it is."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now

    def date_and_time(self, place: str = "") -> ToolResult:
        """Say what time and what date it is now, here or in a place.

        Parameters
        ----------
        place
            A city or time zone such as Tokyo or Europe/Paris; empty for here.
        """
        zone = zone_of(place)
        now = self.now() if zone is None else self.now().astimezone(zone)
        where = f" in {zone.key.rpartition('/')[2].replace('_', ' ')}" if zone is not None else ""
        text = f"{now:%A, %d %B %Y, %H:%M}"
        return ToolResult(text=f"{now:%Y-%m-%d %H:%M} ({now:%A}){where}", say=f"It is {text}{where}.")

    def day_of_week(self, day: str) -> ToolResult:
        """Say which weekday a date is.

        Parameters
        ----------
        day
            A date such as 2026-12-25, 4 July 1990 or tomorrow.
        """
        found = parse_date(day, self.now())
        return ToolResult(text=f"{found:%A}", say=f"{found:%d %B %Y} is a {found:%A}.")

    def days_between(self, start: str, end: str) -> ToolResult:
        """Count the days from one date to another.

        Parameters
        ----------
        start
            The first date; today if the request says from now or until.
        end
            The second date.
        """
        first, last = parse_date(start, self.now()), parse_date(end, self.now())
        days = abs((last - first).days)
        return ToolResult(
            text=f"{days} days", say=f"From {first:%d %B %Y} to {last:%d %B %Y} it is {days} day{'s' * (days != 1)}."
        )

    def date_after(self, period: str, start: str = "today") -> ToolResult:
        """Say which date it is some time after a date.

        Parameters
        ----------
        period
            How long after, such as 10 days or three weeks.
        start
            The date to count from; today unless given.
        """
        found = parse_date(start, self.now()) + timedelta(seconds=seconds_of(period))
        return ToolResult(text=f"{found:%Y-%m-%d} ({found:%A})", say=f"That is {found:%A}, {found:%d %B %Y}.")


def parse_date(text: str, now: datetime) -> date:
    """The day that `text` says; ToolError where it says none."""
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|,|\bof\b|\bthe\b|\bon\b", " ", text.lower())
    plain = " ".join(plain.split()).rstrip(".?")
    today = now.date()
    simple = {"today": 0, "now": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "day after tomorrow": 2}
    if plain in simple:
        return today + timedelta(days=simple[plain])
    if feast := {"christmas": (12, 25), "christmas day": (12, 25), "new year": (1, 1), "halloween": (10, 31)}.get(
        plain
    ):
        return _next(today, *feast)
    if found := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", plain):
        return _date(text, *map(int, found.groups()))
    if found := re.fullmatch(r"(\d{1,2})[./](\d{1,2})[./](\d{4})", plain):
        return _date(text, int(found[3]), int(found[2]), int(found[1]))
    if found := re.fullmatch(rf"(next |this |coming )?({'|'.join(DAYS)})", plain):
        return today + timedelta(days=(DAYS.index(found[2]) - today.weekday() - 1) % 7 + 1)
    if found := re.fullmatch(r"(?:(\d{1,2}) ([a-z]+)|([a-z]+) (\d{1,2}))(?: (\d{4}))?", plain):
        name = found[2] or found[3]
        month = next((n for n, full in enumerate(MONTHS, 1) if len(name) >= 3 and full.startswith(name)), None)
        if month is not None:
            day = int(found[1] or found[4])
            return _date(text, int(found[5]), month, day) if found[5] else _next(today, month, day)
    if plain.startswith("in ") or plain.endswith((" from now", " from today")):
        return today + timedelta(seconds=seconds_of(plain))
    raise ToolError(f"{text[:60]!r} is no date that is understood here; write it as 2026-12-25")


def parse_moment(text: str, now: datetime) -> datetime:
    """The day and time that `text` says: 9:00 where it says only a day, the next such time where it says no day."""
    plain = " ".join(text.lower().replace(",", " ").split()).rstrip(".?")
    plain = re.sub(r"\bnoon\b", "12:00", re.sub(r"\bmidnight\b", "00:00", plain))
    if re.fullmatch(r"\d{4}-\d\d-\d\d[t ]\d\d:\d\d(:\d\d)?", plain):
        try:
            return datetime.fromisoformat(plain)
        except ValueError as error:
            raise ToolError(f"{text[:60]!r} is no time: {error}") from None
    if re.fullmatch(rf"(?:in )?{NUMBER} (minute|min|hour)s?(?: from now)?", plain):
        return (now + timedelta(seconds=seconds_of(plain))).replace(second=0, microsecond=0)
    clock, rest = _time_of(plain)
    parts = {"this morning": (0, 9), "this afternoon": (0, 15), "this evening": (0, 18), "tonight": (0, 20)}
    for name, (days, hour) in parts.items():
        if rest.startswith(name):
            day = now.date() + timedelta(days=days)
            return datetime.combine(day, _evening(clock, hour) if clock else time(hour))
    for part, hour in (("morning", 9), ("afternoon", 15), ("evening", 18), ("night", 20)):
        if rest.endswith(part):
            rest = rest.removesuffix(part).removesuffix("in the ").removesuffix("at ").strip()
            clock = _evening(clock, hour) if clock else time(hour)
    if not rest:
        if clock is None:
            raise ToolError("the time is missing")
        moment = datetime.combine(now.date(), clock)
        return moment if moment > now.replace(tzinfo=None) else moment + timedelta(days=1)
    return datetime.combine(parse_date(rest, now), clock or time(9))


def _evening(clock: time, part: int) -> time:
    """8 in the evening is 20:00."""
    return clock.replace(hour=clock.hour + 12) if part >= 15 and clock.hour < 12 else clock


def _time_of(plain: str) -> tuple[time | None, str]:
    """The time of day in `plain`, and what is left without it."""
    pattern = r"(?:\bat )?\b(\d{1,2})(?:(?:[:.](\d\d))\s*(am|pm)?|\s*(am|pm|o'?clock))\b|\bat (\d{1,2})\b"
    found = re.search(pattern, plain)
    if found is None:
        return None, plain.removeprefix("at ")
    hour, minute, half = int(found[1] or found[5]), int(found[2] or 0), found[3] or found[4] or ""
    if half in ("am", "pm"):
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59:
        raise ToolError(f"{found[0]!r} is no time of day")
    rest = " ".join((plain[: found.start()] + " " + plain[found.end() :]).split())
    return time(hour, minute), rest.removesuffix(" at").strip()


def seconds_of(text: str) -> float:
    """How long `text` says; ToolError where it says no time."""
    found = re.findall(rf"\b{NUMBER}\s*(minute|min|hour|day|week|fortnight)s?\b", text.lower())
    if not found:
        raise ToolError(f"{text[:60]!r} is no length of time; write it as 10 days or 3 weeks")
    return sum(float(NUMBERS.get(number, 0) or number) * UNITS_OF_TIME[unit] for number, unit in found)


def zone_of(place: str) -> ZoneInfo | None:
    """The time zone of a place, None for here; ToolError where there is none."""
    plain = place.strip().lower().replace(" ", "_")
    if plain in ("", "here", "now", "today", "local"):
        return None
    name = _zones().get(plain)
    if name is None:
        raise ToolError(f"there is no time zone for {place[:40]!r}; give a larger city, or a name such as Europe/Paris")
    return ZoneInfo(name)


@functools.cache
def _zones() -> dict[str, str]:
    """Time zones by their whole names and by their last parts, the first in the alphabet before others."""
    names = sorted(available_timezones(), reverse=True)
    return {name.lower().rpartition("/")[2]: name for name in names} | {name.lower(): name for name in names}


def _next(today: date, month: int, day: int) -> date:
    found = _date(f"{day}.{month}.", today.year, month, day)
    return found if found >= today else _date(f"{day}.{month}.", today.year + 1, month, day)


def _date(text: str, year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError as error:
        raise ToolError(f"{text[:60]!r} is no date: {error}") from None
