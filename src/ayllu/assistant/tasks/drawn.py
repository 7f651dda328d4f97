"""Fifty tasks of one tool drawn by a seed: as many of each kind as the everyday ones, in other wordings.

A seed that nobody has looked at gives tasks that nothing was tuned on. What is right is computed here, without the
tools. Only `Random.random` is used, the one method whose numbers are the same in every version of Python.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any, TypeVar

from ayllu.assistant.tasks.task import Task

SEED = 20261129
"""Of the set `drawn`; written down before any of its tasks was run."""
TODAY = date(2026, 11, 28)
"""The day on which tasks are run, a Saturday."""
T = TypeVar("T")
Made = tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]
"""Request, tool, arguments, check, and the world in which it is asked."""

DEEDS = ["feed the hamster", "collect the parcel", "phone the landlord", "defrost the fridge", "renew the permit"]
DEEDS += ["back up the laptop", "lock the shed", "order new filters", "visit aunt Greta", "charge the drill"]
FACTS = [
    ("the boiler was serviced by Ferreira", "boiler", "ferreira"),
    ("the spare fuse is in the attic", "fuse", "attic"),
]
FACTS += [("seat 14C is mine", "seat", "14c"), ("the gate opens with 9052", "gate", "9052")]
FACTS += [("Milo borrowed the ladder", "ladder", "milo"), ("the vet closes at five", "vet", "five")]
OF_ME = [("my sister lives in Porto", "sister", "porto"), ("my bicycle is orange", "bicycle", "orange")]
OF_ME += [("my locker is number 318", "locker", "318"), ("my allergy is to walnuts", "allergy", "walnuts")]
UNITS = [("miles", "kilometres", 1.609344), ("kg", "pounds", 2.2046226218), ("feet", "metres", 0.3048)]
UNITS += [("inches", "cm", 2.54), ("litres", "gallons", 0.2641720524), ("hours", "minutes", 60.0)]
UNITS += [("days", "hours", 24.0), ("ounces", "grams", 28.349523125), ("metres", "feet", 3.280839895)]
UNITS += [("km/h", "mph", 0.6213711922), ("pounds", "kg", 0.45359237), ("weeks", "days", 7.0)]
TABLES = [("harvest.csv", ["crop", "weight", "days"], ["beans", "leeks", "kale", "peas", "corn"])]
TABLES += [("rides.csv", ["rider", "distance", "climb"], ["Ana", "Bo", "Cem", "Dora", "Eli"])]
TABLES += [("stock.csv", ["part", "amount", "cost"], ["bolt", "nut", "gear", "belt", "seal"])]
TEXTS = [
    (
        "boat.txt",
        "rowing",
        "The rowing club has nine boats. Two boats are being painted. The rowing club meets on Sunday.",
    ),
    (
        "bees.md",
        "hive",
        "Each hive holds about 40,000 bees. The hive is opened in April. Honey is taken from the hive in July.",
    ),
    ("lease.txt", "rent", "The rent is due on the first day. The rent covers water. Heating is paid beside the rent."),
    (
        "choir.md",
        "choir",
        "The choir sings in the old hall. New voices may join the choir in May. The choir owns a piano.",
    ),
]


class _Draw:
    """Draws by `random` alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def between(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))

    def one(self, things: Sequence[T]) -> T:
        return things[self.between(0, len(things) - 1)]

    def some(self, things: Sequence[T], count: int) -> list[T]:
        """`count` of them, each at most once, in any order."""
        left = list(things)
        return [left.pop(self.between(0, len(left) - 1)) for _ in range(count)]

    def day(self, first: int = 5, last: int = 330) -> date:
        """A day so many days from today."""
        return TODAY + timedelta(days=self.between(first, last))


def drawn_tasks(seed: int = SEED) -> list[Task]:
    """The tasks of a seed, always the same ones."""
    draw = _Draw(seed)
    tasks = []
    for kind, makers, count in _KINDS:
        for number, make in enumerate(draw.some(makers, count), start=1):
            request, tool, arguments, check, world = make(draw)
            call = {"name": tool, "arguments": arguments}
            tasks.append(Task(id=f"{kind}-{number}", request=request, calls=[call], check=check, **world))
    return tasks


Maker = Callable[[_Draw], Made]


def _sum(wording: str, written: str, value: Callable[..., float]) -> Maker:
    def make(draw: _Draw) -> Made:
        a, b, c, d = draw.between(120, 900), draw.between(15, 110), draw.between(4, 29), draw.between(3, 12)
        p, x, y = draw.between(3, 60), draw.between(105, 4900) / 100, draw.between(105, 4900) / 100
        fields = {"a": a, "b": b, "c": c, "d": d, "p": p, "cd": c * d, "cc": c * c, "x": f"{x:.2f}", "y": f"{y:.2f}"}
        expression = written.format(**fields)
        check = {"numbers": [round(value(a=a, b=b, c=c, d=d, p=p, x=x, y=y), 6)]}
        return wording.format(expression, **fields), "calculate", {"expression": expression}, check, {}

    return make


def _unit(wording: str) -> Maker:
    def make(draw: _Draw) -> Made:
        (one, other, factor), amount = draw.one(UNITS), draw.between(3, 90)
        arguments = {"amount": str(amount), "from_unit": one, "to_unit": other}
        return wording.format(n=amount, one=one, other=other), "convert", arguments, _near(amount * factor), {}

    return make


def _weekday(wording: str) -> Maker:
    def make(draw: _Draw) -> Made:
        day = draw.day(30, 900)
        said = f"{day.day} {day:%B} {day.year}"
        return wording.format(said), "day_of_week", {"day": said}, {"words": [f"{day:%A}".lower()]}, {}

    return make


def _until(wording: str) -> Maker:
    def make(draw: _Draw) -> Made:
        day = draw.day()
        said = f"{day.day} {day:%B}"
        arguments = {"start": "today", "end": said}
        return wording.format(said), "days_between", arguments, {"numbers": [(day - TODAY).days]}, {}

    return make


def _apart(wording: str) -> Maker:
    def make(draw: _Draw) -> Made:
        first = draw.day(40, 150)
        last = first + timedelta(days=draw.between(10, 120))
        one, other = f"{first.day} {first:%B}", f"{last.day} {last:%B}"
        check = {"numbers": [(last - first).days]}
        return wording.format(one, other), "days_between", {"start": one, "end": other}, check, {}

    return make


def _after(wording: str, unit: str, days: int) -> Maker:
    def make(draw: _Draw) -> Made:
        count, start = draw.between(3, 60), draw.day(10, 300)
        named = "{start}" in wording
        found = (start if named else TODAY) + timedelta(days=count * days)
        period, said = f"{count} {unit}", f"{start.day} {start:%B}"
        words = [f"{found.day:02d} {found:%B} {found.year}|{found.day} {found:%B} {found.year}|{found}".lower()]
        arguments = {"period": period, "start": said if named else "today"}
        return wording.format(period=period, start=said), "date_after", arguments, {"words": words}, {}

    return make


def _clock(request: str, words: str) -> Maker:
    return lambda draw: (request, "date_and_time", {}, {"words": [words]}, {})


def _reminder(wording: str, when: str) -> Maker:
    def make(draw: _Draw) -> Made:
        deed, day, hour, minute = draw.one(DEEDS), draw.day(2, 7), draw.between(8, 12), draw.one([10, 15, 30, 45])
        minutes = draw.one([15, 25, 40, 50])
        said = when.format(day=f"{day:%A}", date=f"{day.day} {day:%B}", h=hour, m=minute, n=minutes)
        moment = f"{day}T{hour:02d}:{minute:02d}"
        if "{n}" in when:
            moment = f"{TODAY}T14:{minutes:02d}"
        elif "tomorrow" in when:
            moment = f"{TODAY + timedelta(days=1)}T{hour:02d}:00"
        check = {"reminder": {"when": moment, "words": [deed.split()[-1].lower()]}}
        return wording.format(deed=deed, when=said), "set_reminder", {"text": deed, "when": said}, check, {}

    return make


def _reminders(request: str) -> Maker:
    def make(draw: _Draw) -> Made:
        deed, day = draw.one(DEEDS), draw.day(2, 20)
        world = {"reminders": [[deed, f"{day} 09:00"]]}
        return request, "list_reminders", {}, {"words": [deed.split()[-1].lower()]}, world

    return make


def _written(wording: str, tool: str, name: str, check: str, facts: Sequence[tuple[str, str, str]]) -> Maker:
    def make(draw: _Draw) -> Made:
        fact, about, word = draw.one(facts)
        return wording.format(fact), tool, {name: fact}, {check: [about, word]}, {}

    return make


def _found(wording: str, tool: str, name: str, kept: str, facts: Sequence[tuple[str, str, str]]) -> Maker:
    def make(draw: _Draw) -> Made:
        (fact, about, word), (other, _, _) = draw.some(facts, 2)
        return wording.format(about), tool, {name: about}, {"words": [word]}, {kept: [fact, other]}

    return make


def _column(wording: str, operation: str, value: Callable[[list[float]], float]) -> Maker:
    def make(draw: _Draw) -> Made:
        (name, columns, rows), (other, others, more) = draw.some(TABLES, 2)
        files = {}
        for file, heads, names in ((name, columns, rows), (other, others, more)):
            lines = [f"{row},{draw.between(4, 99)},{draw.between(10, 400) / 10}" for row in names]
            files[file] = "\n".join([",".join(heads), *lines]) + "\n"
        place = draw.between(1, 2)
        values = [float(line.split(",")[place]) for line in files[name].splitlines()[1:]]
        arguments = {"path": name, "column": columns[place], "operation": operation}
        request = wording.format(column=columns[place], file=name)
        return request, "compute_column", arguments, _near(value(values)), {"files": files}

    return make


def _text(wording: str, tool: str) -> Maker:
    def make(draw: _Draw) -> Made:
        (name, word, text), (other, _, more) = draw.some(TEXTS, 2)
        check: dict[str, Any] = {"words": [word], "cites": name}
        arguments = {"path": name}
        if tool == "list_files":
            check, arguments = {"words": [name, other]}, {}
        return wording.format(name), tool, arguments, check, {"files": {name: f"{text}\n", other: f"{more}\n"}}

    return make


def _near(value: float) -> dict[str, Any]:
    return {"numbers": [round(value, 4)]}


_SUMS = [
    _sum("What is {} altogether?", "{a} plus {b}", lambda a, b, **_: a + b),
    _sum("Take away for me: {}", "{a} - {b}", lambda a, b, **_: a - b),
    _sum("{} equals what?", "{b} times {c}", lambda b, c, **_: b * c),
    _sum("Would you tell me {}?", "{cd} divided by {c}", lambda d, **_: d),
    _sum("What would {} come to?", "{p}% of {a}", lambda p, a, **_: p * a / 100),
    _sum("Please solve {}", "({a} - {c}) * {d}", lambda a, c, d, **_: (a - c) * d),
    _sum("I want to know {}", "{x} * {c}", lambda x, c, **_: x * c),
    _sum("Give me the {}", "square root of {cc}", lambda c, **_: c),
    _sum("How many is {}?", "{c} to the power of 3", lambda c, **_: c**3),
    _sum("{} is how much?", "{p} percent of {b}", lambda p, b, **_: p * b / 100),
    _sum("If I pay {}, what is that?", "{x} plus {y}", lambda x, y, **_: x + y),
    _sum("The result of {}, please", "{a} + {b} + {c}", lambda a, b, c, **_: a + b + c),
]
_CONVERSIONS = [
    *(_unit("{n} {one} in {other}, please"), _unit("Please turn {n} {one} into {other}")),
    *(_unit("What are {n} {one} in {other}?"), _unit("Express {n} {one} in {other}")),
    *(_unit("I have {n} {one}. How many {other} is that?"), _unit("{n} {one} is how many {other}?")),
    *(_unit("Could you convert {n} {one} to {other} for me?"), _unit("How much is {n} {one} in {other}?")),
    *(_unit("Tell me how many {other} there are in {n} {one}"), _unit("How many {other} do {n} {one} make?")),
]
_DATES = [
    *(_weekday("On which weekday does {} fall?"), _weekday("Tell me the day of the week of {}")),
    *(_until("How many days remain until {}?"), _until("How long is it until {}, in days?")),
    *(_apart("How many days lie between {} and {}?"), _apart("How many days is it from {} to {}?")),
    _after("Which date is {period} from today?", "days", 1),
    _after("What is the date {period} after {start}?", "days", 1),
    _after("Tell me the date {period} after {start}", "weeks", 7),
    *(_clock("Do you know what time it is?", "14:00"), _clock("What day is it today?", "saturday|28 november")),
]
_REMINDERS = [
    _reminder("Remind me to {deed} {when}", "on {day} at {h}:{m}"),
    _reminder("Set a reminder {when} to {deed}", "tomorrow at {h}"),
    _reminder("Please remind me {when} to {deed}", "in {n} minutes"),
    _reminder("Don't let me forget to {deed} {when}", "on {date} at {h}:{m}"),
    _reminder("I need a reminder to {deed} {when}", "on {day} at {h}:{m}"),
    _reminder("{when} I have to {deed}, please remind me", "On {day} at {h}:{m}"),
    *(_reminders("Do I have any reminders?"), _reminders("List what I should be reminded of")),
]
_NOTES = [
    *(_written(wording, "take_note", "text", "note", FACTS) for wording in ("Note down: {}", "Jot down that {}")),
    *(_written(wording, "take_note", "text", "note", FACTS) for wording in ("Please make a note that {}", "Note: {}")),
    _found("What do my notes say about the {}?", "find_note", "query", "notes", FACTS),
    _found("Search my notes for the {}", "find_note", "query", "notes", FACTS),
]
_MEMORIES = [
    _written("Please remember that {}", "remember", "fact", "memory", OF_ME),
    _written("Remember this: {}", "remember", "fact", "memory", OF_ME),
    _found("What did I tell you about my {}?", "recall_fact", "about", "memories", OF_ME),
    _found("What do you remember about my {}?", "recall_fact", "about", "memories", OF_ME),
]
_COLUMNS = [
    _column("What is the {column} in total in {file}?", "sum", sum),
    _column("Calculate the average {column} in {file}", "average", statistics.fmean),
    _column("What is the highest {column} in {file}?", "maximum", max),
    _column("In {file}, what is the smallest {column}?", "minimum", min),
    _column("Sum the column {column} of {file}", "sum", sum),
    _column("What is the median {column} in {file}?", "median", statistics.median),
    _column("Work out the mean of {column} from {file}", "average", statistics.fmean),
]
_FILES = [
    *(_text("Summarise {} in a few words", "summarise_file"), _text("Sum up what {} says", "summarise_file")),
    *(_text("Could you give me a summary of {}?", "summarise_file"), _text("Read {} to me", "read_file")),
    _text("What files do I have here?", "list_files"),
]
_KINDS: Sequence[tuple[str, Sequence[Maker], int]] = [
    *(("sum", _SUMS, 10), ("unit", _CONVERSIONS, 8), ("date", _DATES, 8), ("remind", _REMINDERS, 6)),
    *(("note", _NOTES, 5), ("memory", _MEMORIES, 3), ("table", _COLUMNS, 6), ("file", _FILES, 4)),
]
