"""What of a request a small model may choose as an argument, and which tools it chooses from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ayllu.assistant.models.driver import Asked, Turned
from ayllu.assistant.models.guided import REPLY, GuidedDriver
from ayllu.assistant.session import message
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.words import (
    MOST,
    dates_in,
    first_dates,
    from_units,
    last_dates,
    moments_in,
    periods_in,
    places_in,
    spans,
    start_dates,
    sums_in,
    to_units,
    told,
)

NOW = datetime(2026, 11, 28, 14, 0)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("What is 348 plus 577?", ["348 plus 577"]),
        ("Please work out (18 + 24) / 6 for me", ["(18 + 24) / 6"]),
        ("I need 7.5% of 640.", ["7.5% of 640"]),
        ("the square root of 1764 please", ["square root of 1764"]),
        ("I run 12 km/h", []),
        ("It is the 5th of May", []),
        ("Tell me a joke", []),
    ],
)
def test_sums_are_what_can_be_worked_out_without_the_words_around_them(words: str, found: list[str]) -> None:
    assert sums_in(words) == found


@pytest.mark.parametrize(
    ("words", "behind", "other"),
    [
        ("How many kilometres are 26.2 miles?", ["miles"], ["kilometres"]),
        ("I run 12 km/h, how much is that in mph?", ["km/h"], ["mph"]),
        ("What is 350 Fahrenheit in Celsius?", ["Fahrenheit"], ["Celsius"]),
        ("How many minutes are in 3 weeks?", ["weeks"], ["minutes"]),
        ("Remind me in 45 minutes", ["minutes"], []),
    ],
)
def test_units_are_told_apart_by_the_number_before_them(words: str, behind: list[str], other: list[str]) -> None:
    assert set(behind) <= set(from_units(words)) and not set(other) & set(from_units(words))
    assert to_units(words) == other


def test_dates_are_whole_and_count_from_today_where_one_is_named() -> None:
    assert dates_in("What weekday was 20 July 1969?", NOW) == ["20 July 1969"]
    between = "Count the days between 10 January and 3 March."
    assert (first_dates(between, NOW), last_dates(between, NOW)) == (["10 January"], ["3 March"])
    until = "How many days are left until 31 December?"
    assert (first_dates(until, NOW), last_dates(until, NOW)) == (["today"], ["31 December"])
    assert start_dates("Which date is 29 days from today?", NOW) == ["today"]
    assert start_dates("What is the date three weeks after 5 May?", NOW) == ["5 May"]
    assert first_dates("How are you?", NOW) == last_dates("How are you?", NOW) == []


def test_times_and_periods_are_whole() -> None:
    dentist = "I must not forget the dentist on 3 December at 9:15, remind me"
    assert moments_in(dentist, NOW) == ["on 3 December at 9:15"]
    assert moments_in("In 10 minutes remind me to check the rice", NOW) == ["In 10 minutes"]
    assert moments_in("Which reminders are set?", NOW) == []
    assert periods_in("What is the date 2 weeks and 3 days after 5 May?") == ["2 weeks and 3 days"]


def test_places_have_a_time_of_their_own() -> None:
    assert places_in("What time is it in New York right now?") == ["New York"]
    assert places_in("Do you know what time it is?") == [""]


def test_what_is_to_be_kept_is_an_end_or_a_beginning() -> None:
    found = told("Note that I lent my tent to Karim")
    assert "I lent my tent to Karim" in found and "Karim" not in found and "lent my tent" not in found


def test_long_messages_are_not_read_run_by_run() -> None:
    words = "1 + 1 " * MOST
    assert sums_in(words) == spans(words)


class Asks:
    """A model that keeps what it is asked, and replies."""

    name = "asks"

    def __init__(self) -> None:
        self.schemas: list[Any] = []

    async def turn(self, asked: Asked) -> AsyncGenerator[Turned]:
        self.schemas.append(asked.schema)
        yield Turned(items=[message("assistant", "Well.")])

    async def close(self) -> None:
        """Nothing is held."""


def offered(request: str, tmp_path: Path) -> list[str]:
    tools = everyday_tools(tmp_path, now=lambda: NOW)
    inner = Asks()
    driver = GuidedDriver(inner, tools)

    async def main() -> None:
        asked = Asked(items=[message("user", request)], tools=[tool.definition for tool in tools])
        async with aclosing(driver.turn(asked)) as parts:
            async for _ in parts:
                pass

    asyncio.run(main())
    schemas = inner.schemas[0].get("anyOf", [inner.schemas[0]])
    return [schema["properties"]["name"]["const"] for schema in schemas]


def test_a_tool_that_can_read_nothing_of_a_request_is_not_offered(tmp_path: Path) -> None:
    assert "set_reminder" not in offered("Which reminders are set?", tmp_path)
    assert "calculate" not in offered("I run 12 km/h, how much is that in mph?", tmp_path)
    assert "set_reminder" in offered("Remind me to call Ana", tmp_path), "the nearest stays, and says what is missing"


def test_a_reply_is_offered_where_one_is_near(tmp_path: Path) -> None:
    assert REPLY in offered("Hello, who are you?", tmp_path)
    assert REPLY not in offered("Write down that the wifi password is bluewhale", tmp_path)
