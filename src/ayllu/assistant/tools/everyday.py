"""The tools that everybody has: sums, units, dates, notes, reminders, and files of folders that the user allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from ayllu.assistant.tools.calculator import calculate
from ayllu.assistant.tools.dates import Clock
from ayllu.assistant.tools.files import Folders
from ayllu.assistant.tools.notes import Notes
from ayllu.assistant.tools.tool import Choices, RunnableTool, tool_of
from ayllu.assistant.tools.units import convert
from ayllu.assistant.tools.words import (
    dates_in,
    first_dates,
    from_units,
    last_dates,
    moments_in,
    numbers_in,
    periods_in,
    places_in,
    start_dates,
    sums_in,
    to_units,
    told,
)

BUILT_IN = "built in"


def everyday_tools(
    home: Path | None, folders: Sequence[Path] = (), *, now: Callable[[], datetime] = datetime.now
) -> list[RunnableTool]:
    """All of them; those for files only where there are folders."""
    notes = Notes(home, now)
    tools = [*_sums(), *_dates(Clock(now)), *_notes(notes)]
    return [*tools, *_files(Folders(folders))] if folders else tools


def _sums() -> list[RunnableTool]:
    sums = [
        ("What is 17 times 23?", {"expression": "17 times 23"}),
        ("How much is 15% of 80?", {"expression": "15% of 80"}),
        ("calculate (3 + 4) * 12", {"expression": "(3 + 4) * 12"}),
        ("Could you divide 144 by 12 for me? 144 / 12", {"expression": "144 / 12"}),
        ("What's the square root of 81?", {"expression": "square root of 81"}),
    ]
    units = [
        ("Convert 5 miles to km", {"amount": "5", "from_unit": "miles", "to_unit": "km"}),
        ("How many grams are in 2 pounds?", {"amount": "2", "from_unit": "pounds", "to_unit": "grams"}),
        ("How many seconds are in 2 hours?", {"amount": "2", "from_unit": "hours", "to_unit": "seconds"}),
        (
            "What is 30 degrees Celsius in Fahrenheit?",
            {"amount": "30", "from_unit": "Celsius", "to_unit": "Fahrenheit"},
        ),
    ]
    return [
        tool_of(calculate, effect=False, examples=sums, choices={"expression": sums_in}, source=BUILT_IN),
        tool_of(
            convert,
            effect=False,
            examples=units,
            choices={"amount": numbers_in, "from_unit": from_units, "to_unit": to_units},
            source=BUILT_IN,
        ),
    ]


def _dates(clock: Clock) -> list[RunnableTool]:
    def read(choose: Callable[[str, datetime], list[str]]) -> Choices:
        return lambda words: choose(words, clock.now())

    return [
        tool_of(
            clock.date_and_time,
            effect=False,
            examples=[
                ("What time is it?", {"place": ""}),
                ("What is the date today?", {"place": ""}),
                ("What time is it in Tokyo right now?", {"place": "Tokyo"}),
            ],
            choices={"place": places_in},
            source=BUILT_IN,
        ),
        tool_of(
            clock.day_of_week,
            effect=False,
            examples=[
                ("What day of the week is 4 July 2027?", {"day": "4 July 2027"}),
                ("Which weekday will 2026-12-25 be?", {"day": "2026-12-25"}),
            ],
            choices={"day": read(dates_in)},
            source=BUILT_IN,
        ),
        tool_of(
            clock.days_between,
            effect=False,
            examples=[
                ("How many days are there between 1 March and 15 April?", {"start": "1 March", "end": "15 April"}),
                ("How many days until Christmas?", {"start": "today", "end": "Christmas"}),
            ],
            choices={"start": read(first_dates), "end": read(last_dates)},
            source=BUILT_IN,
        ),
        tool_of(
            clock.date_after,
            effect=False,
            examples=[
                ("What date is it in 10 days?", {"period": "10 days", "start": "today"}),
                ("What is the date three weeks after 5 May?", {"period": "three weeks", "start": "5 May"}),
            ],
            choices={"period": periods_in, "start": read(start_dates)},
            source=BUILT_IN,
        ),
    ]


def _notes(notes: Notes) -> list[RunnableTool]:
    def moments(words: str) -> list[str]:
        return moments_in(words, notes.now())

    reminders = [
        ("Remind me to call Ana tomorrow at 9", {"text": "call Ana", "when": "tomorrow at 9"}),
        ("Set a reminder on Friday at 17:30 to buy bread", {"text": "buy bread", "when": "on Friday at 17:30"}),
        ("In 20 minutes remind me to turn off the oven", {"text": "turn off the oven", "when": "In 20 minutes"}),
    ]
    written = [
        ("Write down that the door code is 4711", {"text": "the door code is 4711"}),
        ("Take a note: milk and eggs are out", {"text": "milk and eggs are out"}),
        ("Note that Tom has the key", {"text": "Tom has the key"}),
    ]
    found = [
        ("What was the door code? Look in my notes", {"query": "door code"}),
        ("Find my note about the garage", {"query": "garage"}),
    ]
    cancelled = [("Cancel my reminder about the dentist", {"query": "dentist"})]
    return [
        tool_of(notes.take_note, ask="never", examples=written, choices={"text": told}, source=BUILT_IN),
        tool_of(notes.find_note, effect=False, examples=found, source=BUILT_IN),
        tool_of(
            notes.delete_note, examples=[("Delete the note about the garage", {"query": "garage"})], source=BUILT_IN
        ),
        tool_of(notes.set_reminder, ask="never", examples=reminders, choices={"when": moments}, source=BUILT_IN),
        tool_of(
            notes.list_reminders,
            effect=False,
            examples=[("What reminders do I have?", {}), ("Show my reminders", {})],
            source=BUILT_IN,
        ),
        tool_of(notes.cancel_reminder, examples=cancelled, source=BUILT_IN),
    ]


def _files(folders: Folders) -> list[RunnableTool]:
    def named(words: str) -> list[str]:
        """The files whose names the words hold, else all."""
        return _mentioned(words, folders.names())

    def tables(words: str) -> list[str]:
        return _mentioned(words, folders.tables())

    def columns(words: str) -> list[str]:
        return _mentioned(words, folders.columns())

    sums = [
        (
            "What is the total of the column price in shop.csv?",
            {"path": "shop.csv", "column": "price", "operation": "sum"},
        ),
        ("Average age in people.csv?", {"path": "people.csv", "column": "age", "operation": "average"}),
        ("Find the median height in people.csv", {"path": "people.csv", "column": "height", "operation": "median"}),
        (
            "What is the largest amount in bills.csv?",
            {"path": "bills.csv", "column": "amount", "operation": "maximum"},
        ),
    ]
    return [
        tool_of(
            folders.list_files,
            effect=False,
            untrusted=True,
            examples=[("Which files are there?", {}), ("List my files", {})],
            source=BUILT_IN,
        ),
        tool_of(
            folders.read_file,
            effect=False,
            untrusted=True,
            examples=[("What does letter.txt say?", {"path": "letter.txt"}), ("Open todo.md", {"path": "todo.md"})],
            choices={"path": named},
            source=BUILT_IN,
        ),
        tool_of(
            folders.summarise_file,
            effect=False,
            untrusted=True,
            examples=[
                ("Summarise report.txt", {"path": "report.txt"}),
                ("Give me a short summary of minutes.md", {"path": "minutes.md"}),
            ],
            choices={"path": named},
            source=BUILT_IN,
        ),
        tool_of(
            folders.compute_column,
            effect=False,
            untrusted=True,
            examples=sums,
            choices={"path": tables, "column": columns},
            source=BUILT_IN,
        ),
    ]


def _mentioned(words: str, names: Sequence[str]) -> list[str]:
    said = words.lower()
    found = [name for name in names if name.lower() in said or Path(name).stem.lower() in said]
    return found or list(names)
