"""Scores as text: for the terminal, and in Markdown for a card. Both read the object of scores.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ayllu.evals.likelihood.sets import find_set
from ayllu.evals.statistics import DISCORDANT, detectable_above, detectable_difference
from ayllu.evals.suite import Suite
from ayllu.lab.visible import visible

SET_HEAD = ("set", "items", "accuracy", "by length", "chance", "uniform", "gold bits per byte")
BEGINNINGS = {
    "bos": "Every item begins with the model's BOS token; lm-eval adds none by default (--first-token none).",
    "none": "No token stands before an item, as in lm-eval by default.",
    "tokenizer": "What stands before a prompt is what the tokenizer itself puts there, as in lm-eval by default.",
}
OTHER_HEAD = ("set", "items", "mode", "metric", "value")
SOURCE_HEAD = ("held-out text", "documents", "bytes", "bits per byte")
NOTE = (
    "In brackets: 95 % confidence. Accuracy: the likeliest choice is right; by length: per byte of the choice. "
    "The * marks the one that is usually quoted for the set; chance and uniform are what guessing and a model that "
    "finds all tokens equally likely reach by it."
)


def scores_table(scores: Mapping[str, Any]) -> str:
    """A table for the terminal, from the object of scores.json."""
    blocks = []
    if scores["sets"]:
        blocks += [aligned(SET_HEAD, _set_rows(scores)), "\n".join((*_remarks(scores), NOTE))]
    if others := _other_rows(scores):
        blocks.append(aligned(OTHER_HEAD, others))
    if scores["bits_per_byte"]:
        blocks.append(aligned(SOURCE_HEAD, _source_rows(scores)))
    if missing := scores.get("not_measured"):
        blocks.append("\n".join(f"not measured: {visible(e['name'])}: {visible(e['reason'])}" for e in missing))
    return "\n\n".join(blocks) + "\n" if blocks else "Nothing was measured.\n"


def markdown_table(scores: Mapping[str, Any]) -> str:
    """The same as Markdown tables, for a card."""
    blocks = []
    if scores["sets"]:
        remarks = [f"- {remark}" for remark in (*_remarks(scores), NOTE)]
        blocks += [_piped(SET_HEAD, _set_rows(scores)), "\n".join(remarks).replace("*", r"\*")]
    if scores["bits_per_byte"]:
        blocks.append(_piped(SOURCE_HEAD, _source_rows(scores)))
    return "\n\n".join(blocks) + "\n" if blocks else "Nothing was measured.\n"


def comparison_table(differences: Mapping[str, Any]) -> str:
    """The object of `compare_scores` as a table for the terminal."""
    rows = []
    for name, entry in differences["sets"].items():
        accuracy, gold = entry["accuracy"], entry["gold_bits_per_byte"]
        rows.append(
            (
                _title(name),
                f"{entry['items']:,}",
                _points(accuracy),
                _tested(accuracy),
                _signed(gold) if gold else "-",
            )
        )
    blocks = [aligned(("set", "items", "accuracy", "p (Holm)", "gold bits per byte"), rows)] if rows else []
    sources = [
        (source, f"{entry['documents']:,}", _signed(entry)) for source, entry in differences["bits_per_byte"].items()
    ]
    if sources:
        blocks.append(aligned(("held-out text", "documents", "bits per byte"), sources))
    others = [
        (name, f"{entry['items']:,}", entry["mode"], entry["metric"], _signed(entry), _tested(entry))
        for name, entry in differences.get("answers", {}).items()
    ]
    if others:
        blocks.append(aligned((*OTHER_HEAD, "p (Holm)"), others))
    if not blocks:
        return "Nothing to compare.\n"
    told = [f"{name.replace('_', ' ')} {a}, {b}" for name, (a, b) in differences.get("conditions", {}).items()]
    if told:
        blocks.append(visible(f"Not asked in the same way, first and second: {'; '.join(told)}."))
    blocks.append("Second minus first, in brackets 95 % confidence. Better: more accuracy, fewer bits.")
    return "\n\n".join(blocks) + "\n"


def describe_power(suite: Suite) -> str:
    """The statistical power of the suite, to be said before it runs: what its size can show at all, one line a set."""
    return "\n".join(
        power_of(_title(name), [item.chance for item in suite.items if item.set == name]) for name in suite.sets
    )


def power_of(title: str, chances: Sequence[float]) -> str:
    """What a set of items with these chances of guessing can show, in one line."""
    chance = sum(chances) / len(chances)
    least = detectable_above(len(chances), chance)
    shown = (
        "cannot show any accuracy above chance"
        if least is None
        else f"show an accuracy from {_share(chance + least)} on"
    )
    return f"{title}: {len(chances):,} items {shown} (chance {_share(chance)}; four times in five)"


def power_of_difference(title: str, items: int) -> str:
    """What a set of items can show of two models, in one line."""
    least = detectable_difference(items, DISCORDANT)
    shown = (
        "cannot show any difference of two models" if least is None else f"show {100 * least:.1f} points between two"
    )
    return f"{title}: {items:,} items {shown} (where they differ on {_share(DISCORDANT)} of them; four times in five)"


def _set_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for entry in scores["sets"].values():
        quoted = entry["headline"]
        rows.append(
            (
                f"{entry['title']} {entry['part']}".strip(),
                f"{entry['items']:,}",
                _accuracy(entry["accuracy"], quoted == "accuracy"),
                _accuracy(entry["accuracy_norm"], quoted == "accuracy_norm"),
                _share(entry[quoted]["chance"]),
                _share(entry[quoted]["uniform"]),
                _bracketed(entry["gold_bits_per_byte"], "{:.3f}"),
            )
        )
    return rows


def _other_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The figures of sets that are not ranked choices, which have no row above."""
    return [
        (entry["name"], f"{entry['n']:,}", entry["mode"], entry["metric"], _bracketed(entry, "{:.3f}"))
        for entry in scores.get("scores", ())
        if entry["name"] not in scores["sets"]
    ]


def _remarks(scores: Mapping[str, Any]) -> list[str]:
    """What must be known to read a row, set by set."""
    remarks = ((entry["title"], "; ".join(_caveats(entry))) for entry in scores["sets"].values())
    told = [visible(f"{title}: {caveats}.") for title, caveats in remarks if caveats]
    return [*told, *_conditions(scores)]


def _conditions(scores: Mapping[str, Any]) -> Iterable[str]:
    """How all of it was asked, where others may do it in another way."""
    about = scores.get("about", {})
    if began := BEGINNINGS.get(str((about.get("first_token") or {}).get("kind"))):
        yield began
    if about.get("chat_template") is True:
        yield "Prompts stand in the model's chat format, as with lm-eval's --apply_chat_template."
    if about.get("kind") == "server":
        yield "Computed in whatever type the server computes in."
    elif about.get("dtype") not in (None, "float32"):
        yield visible(f"Computed in {about['dtype']}.")
    penalty = about.get("repetition_penalty")
    if penalty not in (None, 1.0) and any(entry["mode"] == "generate" for entry in scores.get("scores", ())):
        yield f"Text is generated with a repetition penalty of {penalty:g}, which the model recommends."
    if cut := about.get("cut"):
        told = ", ".join(f"{_title(name)} {count:,}" for name, count in cut.items())
        yield visible(
            f"Longer than the model's context of {about['context']:,} tokens, so without their beginning: {told}."
        )


def _caveats(entry: Mapping[str, Any]) -> Iterable[str]:
    quoted = entry[entry["headline"]]
    if quoted["low"] <= max(quoted["chance"], quoted["uniform"]):
        yield "not shown to be better than knowing nothing"
    if entry["missing"]:
        yield f"{entry['missing']:,} without an answer, counted as wrong"
    if entry["trained_on"]:
        yield f"its training part is in {', '.join(entry['trained_on'])}"
    if overlap := entry["overlap"]:
        clean = overlap["clean"]
        rest = f", the {clean['items']:,} others give {_accuracy(clean[entry['headline']], False)}" if clean else ""
        yield f"{_share(overlap['share'])} of {overlap['checked']:,} checked items stand in the training text{rest}"


def _source_rows(scores: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (source, f"{entry['documents']:,}", f"{entry['bytes']:,}", _bracketed(entry, "{:.3f}"))
        for source, entry in scores["bits_per_byte"].items()
    ]


def _title(name: str) -> str:
    known = find_set(name)
    return known.title if known else name


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _accuracy(entry: Mapping[str, float], quoted: bool) -> str:
    low, high = 100 * entry["low"], 100 * entry["high"]
    return f"{_share(entry['value'])} ({low:.1f}–{high:.1f}){' *' if quoted else ''}"


def _bracketed(entry: Mapping[str, float | None], form: str) -> str:
    if entry["value"] is None:
        return "-"
    value = form.format(entry["value"])
    if entry["low"] is None:
        return value
    return f"{value} ({form.format(entry['low'])} to {form.format(entry['high'])})"


def _tested(entry: Mapping[str, Any]) -> str:
    p = entry.get("p_holm")
    return "-" if p is None else f"{p:.3g}"


def _points(entry: Mapping[str, float | None]) -> str:
    scaled = {key: None if (bound := entry[key]) is None else 100 * bound for key in ("value", "low", "high")}
    return _bracketed(scaled, "{:+.1f}") + " points"


def _signed(entry: Mapping[str, float | None]) -> str:
    return _bracketed(entry, "{:+.3f}")


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head, in columns, for the terminal."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _piped(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(visible(cell).replace("|", r"\|").replace("*", r"\*") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])
