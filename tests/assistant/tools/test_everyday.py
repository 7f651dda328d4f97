"""The everyday tools: what people ask, and what is right."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from ayllu.assistant.tools.calculator import calculate
from ayllu.assistant.tools.dates import Clock, parse_date, parse_moment
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.files import Folders
from ayllu.assistant.tools.notes import Notes
from ayllu.assistant.tools.tool import ToolError, tool_of
from ayllu.assistant.tools.units import convert, units_in
from ayllu.assistant.tools.words import spans

NOW = datetime(2026, 11, 28, 14, 0)  # a Saturday


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("17 times 23", "391"),
        ("What is 12% of 80?", "9.6"),
        ("15 percent of 250", "37.5"),
        ("0.1 + 0.2", "0.3"),
        ("1,250 + 750", "2000"),
        ("square root of 144", "12"),
        ("2^10", "1024"),
        ("seven", None),
        ("100 divided by 8", "12.5"),
        ("half of 9", "4.5"),
        ("3 squared plus 4 squared", "25"),
        ("1 / 3", "0.3333333333"),
        ("round(2.675, 2)", "2.68"),
        ("5 / 0", None),
        ("__import__('os')", None),
        ("9**9**9", None),
        ("round(2.5, 10**9)", None),
        ("round(25, -9999999999)", None),
        ("round(25, -1)", "20"),
        ("12 x 12", "144"),
    ],
)
def test_sums(given: str, right: str | None) -> None:
    if right is None:
        with pytest.raises(ToolError):
            calculate(given)
    else:
        assert calculate(given).text == right


@pytest.mark.parametrize(
    ("amount", "one", "other", "right"),
    [
        ("5", "miles", "km", "8.04672 kilometres"),
        ("100", "Fahrenheit", "Celsius", "37.777778 degrees Celsius"),
        ("0", "°C", "K", "273.15 degrees Kelvin"),
        ("1", "foot", "inches", "12 inches"),
        ("2.5", "kg", "pounds", "5.5115566 pounds"),
        ("90", "minutes", "hours", "1.5 hours"),
        ("100", "km/h", "mph", "62.137119 mph"),
        ("3", "gallons", "litres", "11.356235 litres"),
    ],
)
def test_units(amount: str, one: str, other: str, right: str) -> None:
    assert convert(amount, one, other).text == right


def test_units_of_different_kinds_do_not_convert() -> None:
    with pytest.raises(ToolError, match="length"):
        convert("1", "km", "kg")
    assert units_in("How many feet are 3 metres?") == ["feet", "metres"]


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("tomorrow", "2026-11-29"),
        ("2027-02-03", "2027-02-03"),
        ("4 July 1990", "1990-07-04"),
        ("July 4th, 1990", "1990-07-04"),
        ("the 1st of March", "2027-03-01"),
        ("next Monday", "2026-11-30"),
        ("saturday", "2026-12-05"),
        ("Christmas", "2026-12-25"),
        ("in two weeks", "2026-12-12"),
        ("24.12.2026", "2026-12-24"),
    ],
)
def test_dates(given: str, right: str) -> None:
    assert str(parse_date(given, NOW)) == right


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("tomorrow at 9", "2026-11-29 09:00"),
        ("at 17:30", "2026-11-28 17:30"),
        ("at 9", "2026-11-29 09:00"),
        ("in 20 minutes", "2026-11-28 14:20"),
        ("on Friday at 5pm", "2026-12-04 17:00"),
        ("tonight at 8", "2026-11-28 20:00"),
        ("tomorrow evening", "2026-11-29 18:00"),
        ("at 7 in the evening", "2026-11-28 19:00"),
        ("3 December at 10.15", "2026-12-03 10:15"),
        ("next Tuesday", "2026-12-01 09:00"),
        ("tomorrow at noon", "2026-11-29 12:00"),
    ],
)
def test_times(given: str, right: str) -> None:
    assert f"{parse_moment(given, NOW):%Y-%m-%d %H:%M}" == right


@pytest.mark.parametrize("given", ["soon", "31 February", "2026-13-01", ""])
def test_what_is_no_date_is_refused(given: str) -> None:
    with pytest.raises(ToolError):
        parse_date(given, NOW)


def test_the_clock_answers() -> None:
    clock = Clock(lambda: NOW)
    assert clock.day_of_week("25 December 2026").text == "Friday"
    assert clock.days_between("1 March", "15 April").text == "45 days"
    assert clock.date_after("10 days").text.startswith("2026-12-08")
    assert "Tokyo" in str(clock.date_and_time("Tokyo").say)
    with pytest.raises(ToolError, match="time zone"):
        clock.date_and_time("Atlantis")


def test_notes_and_reminders_are_kept_found_and_deleted(tmp_path: Path) -> None:
    notes = Notes(tmp_path, lambda: NOW)
    notes.take_note("the door code is 4711")
    notes.take_note("the garage key hangs in the hall")
    found = Notes(tmp_path, lambda: NOW).find_note("What was the door code?")
    assert found.text == "the door code is 4711" and found.citations and not found.untrusted
    notes.set_reminder("call Ana", "tomorrow at 9")
    notes.set_reminder("buy bread", "in 1 hour")
    assert notes.list_reminders().text == "2026-11-28 15:00 buy bread\n2026-11-29 09:00 call Ana"
    notes.cancel_reminder("bread")
    assert notes.list_reminders().text == "2026-11-29 09:00 call Ana"
    with pytest.raises(ToolError, match="past"):
        notes.set_reminder("too late", "2020-01-01 09:00")
    with pytest.raises(ToolError, match="no such note"):
        notes.delete_note("bicycle")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "shop.csv").write_text("item;price;kind\npen;1.50;office\npaper;4;office\ntea;3.25;kitchen\n")
    (tmp_path / "in" / "note.txt").write_text("A long letter. It says that the meeting about the garden is on Friday.")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "secret.txt")
    return Folders([tmp_path / "in"])


def test_tables_are_computed_with(folders: Folders) -> None:
    total = folders.compute_column("shop.csv", "price", "sum")
    assert total.text == "8.75" and total.citations[0].place == "column price, 3 rows"
    assert folders.compute_column("shop", "Price", "maximum").text == "4"
    assert folders.compute_column("shop.csv", "price", "sum", "kind", "office").text == "5.5"
    assert folders.compute_column("shop.csv", "item", "count").text == "3"
    with pytest.raises(ToolError, match="the columns are item, price, kind"):
        folders.compute_column("shop.csv", "weight", "sum")


def test_numbers_with_decimal_commas_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item;price\ntea;3,50\npen;1.250,25\nink;0,125\ncar;12.000.000,5\npad;7\n")
    assert Folders([tmp_path]).compute_column("a.csv", "price", "sum").text == "12001261.38"
    (tmp_path / "b.csv").write_text('item,price\ntea,"1,250"\npen,"2,500.75"\n')
    assert Folders([tmp_path]).compute_column("b.csv", "price", "sum").text == "3750.75"


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "link.txt", "in/../../secret.txt", "absent.txt"])
def test_nothing_outside_the_allowed_folders_is_read(folders: Folders, path: str) -> None:
    with pytest.raises(ToolError):
        folders.read_file(path)
    assert folders.names() == ["note.txt", "shop.csv"]


def test_a_function_becomes_a_tool_by_its_hints_and_docstring() -> None:
    def book(city: str, nights: int = 1, board: Literal["none", "half"] = "none", tags: list[str] | None = None) -> str:
        """Book a room.

        Args:
            city: Where.
            nights: How long.
        """
        return f"{city} {nights} {board} {tags}"

    tool = tool_of(book)
    schema = tool.definition.parameters
    assert tool.definition.description == "Book a room." and schema["required"] == ["city"]
    assert schema["properties"]["city"] == {"description": "Where.", "type": "string"}
    assert schema["properties"]["board"]["enum"] == ["none", "half"] and schema["additionalProperties"] is False
    assert tool.function({"city": "Lima", "nights": 2}) == "Lima 2 none None"
    with pytest.raises(ToolError, match="nights"):
        tool.function({"city": "Lima", "nights": "many"})
    with pytest.raises(TypeError, match="needs a name and a type"):
        tool_of(lambda x: x)


def test_each_example_of_a_tool_is_a_call_that_it_takes(folders: Folders, tmp_path: Path) -> None:
    for tool in everyday_tools(None, [tmp_path / "in"], now=lambda: NOW):
        for example in tool.examples:
            assert set(example.arguments) <= set(tool.definition.parameters["properties"])
            for name, value in example.arguments.items():
                if name in ("operation", "start", "place", "path", "column"):
                    continue
                assert value in spans(example.request) or value in units_in(example.request) or value == ""


def test_a_reminder_far_off_is_one() -> None:
    assert parse_moment("in 90 minutes", NOW) == NOW + timedelta(minutes=90)
