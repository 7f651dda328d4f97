"""Sections of a release's pages, for the card and the technical report. Every number is a reference to the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ayllu.release.gates import RECORDS, SCORES, SOURCES
from ayllu.release.reference import Pages
from ayllu.safety.suites.figures import NAMES as HAZARD_FIGURES
from ayllu.safety.suites.figures import TUNED

LIST_LIMIT = 8
"""Longer lists in the records are not for reading."""
SHAPE = {
    "parameters": "parameters",
    "layers": "layers",
    "width": "width",
    "heads": "query heads",
    "kv_heads": "key/value heads",
    "feed_forward": "feed-forward width",
    "vocabulary": "vocabulary",
    "context": "context (tokens)",
    "dtype": "type of the weights",
}
SET_HEAD = (
    "set",
    "part",
    "items",
    "measure",
    "score",
    "interval",
    "chance",
    "uniform",
    "bits per byte of the answer",
    "trained on",
)
HELDOUT_HEAD = ("held-out text", "bits per byte", "interval", "documents", "bytes")
SET_NOTE = (
    "`accuracy` counts the items whose right answer the model finds likeliest, `accuracy_norm` likeliest for "
    "its length. The interval holds with ninety-five per cent confidence. Chance is what guessing reaches, "
    "uniform what a model reaches that finds all tokens equally likely. “Trained on” names the sources that "
    "contain the training part of the same benchmark.\n"
)
HAZARD_NOTE = (
    "Shares, with intervals of ninety-five per cent confidence. What a judge decided is corrected for its errors; "
    "where they leave nothing to say, the values are none. What is not listed was not measured.\n\n"
)


SAFETY_NOTE = (
    "Shares of held-out requests, none of which is like one that was learnt from; differences are in percentage "
    "points, paired, with intervals of ninety-five per cent confidence. A judge decided, which is itself measured: it "
    "finds {found} ({found_low} to {found_high}) of the answers that people labelled harmful, and calls {false} "
    "({false_low} to {false_high}) of the others so. Babble counts as neither. {corrected}\n"
)


def shape_section(pages: Pages) -> str:
    """The architecture's figures."""
    return table(("", ""), ([label, pages.show(RECORDS, "model", key)] for key, label in SHAPE.items()))


def safety_section(pages: Pages) -> str:
    """Replies before and after the tuning of safety, and how far the judge of them can be believed."""
    where = ("training", "safety")

    def share(*path: str | int) -> str:
        return pages.show(RECORDS, *where, *path, percent=True)

    rows = [
        [
            told,
            pages.show(RECORDS, *where, name, "items"),
            share(name, "before", "value"),
            share(name, "after", "value"),
            share(name, "difference", "value"),
            f"{share(name, 'difference', 'low')} to {share(name, 'difference', 'high')}",
        ]
        for name, told in TUNED.items()
        if pages.get(RECORDS, *where, name)
    ]
    corrected = "What is left without its errors cannot be told."
    if pages.get(RECORDS, *where, "harmful", "corrected"):
        value, low, high = (share("harmful", "corrected", bound) for bound in ("value", "low", "high"))
        corrected = f"Without its errors the first difference is {value} ({low} to {high})."
    note = SAFETY_NOTE.format(
        found=share("judge", "found"),
        found_low=share("judge", "found_interval", 0),
        found_high=share("judge", "found_interval", 1),
        false=share("judge", "false"),
        false_low=share("judge", "false_interval", 0),
        false_high=share("judge", "false_interval", 1),
        corrected=corrected,
    )
    head = ("replies", "items", "before", "after", "difference", "interval")
    return "## Safety tuning\n\n" + table(head, rows) + "\n" + note


def gates_section(pages: Pages) -> str:
    """The policy's thresholds and what became of each."""
    where = (RECORDS, "policy", "verdicts")
    fields = ("score", "at_least", "at_most", "value", "low", "high", "items", "verdict", "reason")
    rows = ([pages.show(*where, i, field) for field in fields] for i in range(len(pages.get(*where) or [])))
    policy = pages.show(RECORDS, "policy", "name")
    return f"## Gates\n\nThe policy {policy} was signed before the evaluation.\n\n" + table(
        (field.replace("_", " ") for field in fields), rows
    )


def hazards_section(pages: Pages) -> str:
    """What the hazard suites found. Rates by the judge allow for its errors."""
    where = (SCORES, "about", "hazards")
    fields = ("value", "low", "high", "items")
    rows = (
        [told, *(pages.show(*where, name, field) for field in fields)]
        for name, told in HAZARD_FIGURES.items()
        if name in pages.get(*where)
    )
    return f"## Hazards\n\n{HAZARD_NOTE}" + table(("", *fields), rows)


def training_section(pages: Pages) -> Iterator[str]:
    records = pages.get(RECORDS, "training") or {}
    compared = [column for column in ("predicted", "measured") if isinstance(records.get(column), dict)]
    if compared:
        rows = dict.fromkeys(path for column in compared for path, _ in _leaves(records[column]))
        yield table(
            ("", *compared),
            ([label(path), *(pages.show(RECORDS, "training", column, *path) for column in compared)] for path in rows),
        )
    kinds = records.get("posttraining")
    if isinstance(kinds, dict):
        fields = list(dict.fromkeys(field for record in kinds.values() for field in record))
        yield table(
            ("", *(label((field,)) for field in fields)),
            ([kind, *(pages.show(RECORDS, "training", "posttraining", kind, f) for f in fields)] for kind in kinds),
        )
    told = (*compared, "description", "posttraining", "comparison", "safety", "settings", "machine", "energy_kwh")
    facts = {key: value for key, value in records.items() if key not in told}
    rows_of_facts = [[label(path), _shown_value(pages, path, value)] for path, value in _leaves(facts)]
    if rows_of_facts:
        yield table(("", ""), rows_of_facts)


def energy_section(pages: Pages) -> Iterator[str]:
    """The machine, and what it used; what has no meter is not guessed."""
    machine = pages.get(RECORDS, "training", "machine")
    if isinstance(machine, dict) and machine:
        rows = [[label(path), _shown_value(pages, ("machine", *path), value)] for path, value in _leaves(machine)]
        yield table(("", ""), rows)
    else:
        yield "The machine was not recorded.\n"
    energy = pages.get(RECORDS, "training", "energy_kwh")
    if isinstance(energy, int | float):
        yield f"Energy of the training: {pages.show(RECORDS, 'training', 'energy_kwh')} kWh, measured.\n"
    else:
        yield "The energy of the training was not measured: the machine has no meter that Ayllu reads.\n"


def settings_section(pages: Pages) -> Iterator[str]:
    """What the training was given: the command, and the arguments of every step."""
    rows = pages.get(RECORDS, "training", "settings")
    if not isinstance(rows, list):
        return
    fields = ("stage", "setting", "value")
    yield table(fields, ([pages.show(RECORDS, "training", "settings", i, f) for f in fields] for i in range(len(rows))))


def changes_section(pages: Pages) -> Iterator[str]:
    """Before and after on the same held-out items: skills, benchmarks, and the benchmarks together."""
    whole = ("training", "comparison")
    comparison = pages.get(RECORDS, *whole) or {}

    def row(name: str, step: str, *path: str) -> list[str]:
        found = pages.get(RECORDS, *whole, *path)
        both = [
            pages.show(RECORDS, *whole, *path, side, "value", percent=True) if side in found else "–"
            for side in ("before", "after")
        ]
        changed = (*path, "difference" if "difference" in found else "accuracy")
        value, low, high = (
            pages.show(RECORDS, *whole, *changed, bound, percent=True) for bound in ("value", "low", "high")
        )
        return [name, step, pages.show(RECORDS, *whole, *path, "items"), *both, value, f"{low} to {high}"]

    rows = [
        row(label((name,)), step, "skills", name, step)
        for name, steps in comparison.get("skills", {}).items()
        for step in steps
    ]
    final = "adopted to final"
    rows += [row(_set_title(pages, name), final, "benchmarks", name) for name in comparison.get("benchmarks", {})]
    if "pooled" in comparison:
        rows.append(row("benchmarks together", final, "pooled"))
    if rows:
        yield table(("right answers", "from … to", "items", "before", "after", "difference", "interval"), rows)
        yield (
            "Differences are in percentage points, paired on the same held-out items; their intervals hold with "
            "ninety-five per cent confidence.\n"
        )


def scores_section(pages: Pages) -> Iterator[str]:
    sets = pages.get(SCORES, "sets") or {}
    if sets:
        yield table(SET_HEAD, (_set_row(pages, key, entry) for key, entry in sets.items()))
        yield SET_NOTE
    sources = pages.get(SCORES, "bits_per_byte") or {}
    if sources:
        yield table(HELDOUT_HEAD, (_heldout_row(pages, key) for key in sources))


def _heldout_row(pages: Pages, key: str) -> list[str]:
    return [
        f"`{key}`",
        pages.show(SCORES, "bits_per_byte", key, "value"),
        _interval(pages, "bits_per_byte", key),
        pages.show(SCORES, "bits_per_byte", key, "documents"),
        pages.show(SCORES, "bits_per_byte", key, "bytes"),
    ]


def _set_title(pages: Pages, key: str) -> str:
    titled = pages.get(SCORES, "sets", key, "title")
    return pages.show(SCORES, "sets", key, "title") if titled else key


def _set_row(pages: Pages, key: str, entry: dict[str, Any]) -> list[str]:
    headline = ("sets", key, entry["headline"])
    seen = [pages.show(SCORES, "sets", key, "trained_on", i) for i in range(len(entry["trained_on"]))]
    return [
        pages.show(SCORES, "sets", key, "title"),
        pages.show(SCORES, "sets", key, "part"),
        pages.show(SCORES, "sets", key, "items"),
        pages.show(SCORES, "sets", key, "headline"),
        pages.show(SCORES, *headline, "value", percent=True),
        _interval(pages, *headline, percent=True),
        pages.show(SCORES, *headline, "chance", percent=True),
        pages.show(SCORES, *headline, "uniform", percent=True),
        pages.show(SCORES, "sets", key, "gold_bits_per_byte", "value"),
        ", ".join(seen) or "no",
    ]


def _interval(pages: Pages, *path: str, percent: bool = False) -> str:
    low, high = (pages.show(SCORES, *path, bound, percent=percent) for bound in ("low", "high"))
    return f"{low} to {high}"


def data_section(pages: Pages) -> str:
    rows = [
        [
            source_title(pages, kind, i),
            pages.show(SOURCES, kind, i, "licence"),
            pages.show(SOURCES, kind, i, "documents"),
            pages.show(SOURCES, kind, i, "bytes"),
        ]
        for kind in ("corpus", "dialogues")
        for i in range(len(pages.get(SOURCES, kind) or []))
    ]
    return table(("source", "licence", "documents", "bytes"), rows)


def source_title(pages: Pages, kind: str, i: int) -> str:
    field = "title" if pages.get(SOURCES, kind, i, "title") else "name"
    return pages.show(SOURCES, kind, i, field)


def _leaves(value: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path and value of everything in nested objects that a table can show."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, (*path, key))
        elif not isinstance(inner, list) or _short(inner):
            yield (*path, key), inner


def _short(values: list[Any]) -> bool:
    return len(values) <= LIST_LIMIT and all(isinstance(value, str | int | float) for value in values)


def _shown_value(pages: Pages, path: tuple[str, ...], value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(pages.show(RECORDS, "training", *path, i) for i in range(len(value)))
    return pages.show(RECORDS, "training", *path)


def label(path: tuple[str, ...]) -> str:
    return ", ".join(step.replace("_", " ") for step in path)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
