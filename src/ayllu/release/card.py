"""The pages of a release: the model card and the list of licences. Every number is a reference to the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from ayllu.release.documents import terms
from ayllu.release.documents.hub import model_index
from ayllu.release.documents.openness import OPENNESS, openness_line
from ayllu.release.gates import RECORDS, SCORES, SOURCES, excepted
from ayllu.release.policy import Policy
from ayllu.release.reference import Pages, Records
from ayllu.safety.suites.figures import NAMES as HAZARD_FIGURES

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
USE = """\
## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
ids = tokenizer.apply_chat_template(
    [{{"role": "user", "content": "Hello!"}}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
print(tokenizer.decode(model.generate(**ids, max_new_tokens=100)[0]))
```

`{gguf}` holds the same model for llama.cpp and the programs built on it:

```
llama-cli -m {gguf} -cnv
```
"""
LIMITS = """\
## Limits

The model writes what is likely after what it read. It makes statements that are false, and repeats what its sources
say, their prejudices too. The scores below are all that was measured: nothing here says that it is fit for a task, or
safe in front of people who did not ask for it. Do not let it decide about anybody.
[Acceptable use](documents/ACCEPTABLE_USE.md) says what it is for, and what not.
"""
DOCUMENTS = """\
## Documents

All of them are made of this release's records, and verification makes them again and compares:

- [a data card](documents/croissant.json) (Croissant), with [a table of the sources](documents/sources.jsonl)
- [a bill of materials](documents/mlbom.cdx.json) (CycloneDX), and [an AI package](documents/spdx.json) (SPDX)
- [the public summary of the training content](documents/TRAINING_CONTENT.md) after the EU's template
- [the scores for the hub](documents/eval_results.yaml), and [what it is for](documents/ACCEPTABLE_USE.md)
"""
CHANGED = """\
- [what changed since the release before](documents/CHANGES.md)
"""
VERIFY = """\
## Verify

```
ayllu release verify . --key PUBLISHERS_KEY.pub
```

checks offline that no file was changed, added or removed since the holder of the key signed, computes the scores again
from the raw outcomes, compares the GGUF file with the weights, and looks up every number on this page in
`records.json`, `scores.json` and `sources.json`, where `references.json` says that it comes from. Without `--key`
anybody could have signed: the publisher's key must come from a place that you trust. The independent
`model_signing verify key` command accepts the signature too.
"""


PROOF = """\
## Proof

```
ayllu release verify . --key PUBLISHERS_KEY.pub --re-execute --proof PROOF
```

also executes again what the folder of the proof, which is published beside this release and never in it, holds:
{parts}. The sha256 of its proof.json: {sha256}"""


def model_card(records: Records, policy: Policy, *, gguf: str, figures: Iterable[str] = ()) -> str:
    """README.md with the front matter of Hugging Face; `figures` are paths inside the release."""
    pages = Pages(records)
    name = pages.show(RECORDS, "release", "name")
    version = pages.show(RECORDS, "release", "version")
    described = pages.get(RECORDS, "training", "description")
    parts = [
        "\n".join(_front_matter(pages, policy)),
        f"# {name}\n",
        *excepted(pages),
        *_undecided(pages),
        *([pages.show(RECORDS, "training", "description") + "\n"] if described else []),
        f"Version {version}: a language model of the Llama-3 architecture, made with Ayllu. Its weights are given "
        f"under {policy.weights_licence}; [LICENSES.md](LICENSES.md) names the licence of every source.\n",
        USE.format(gguf=gguf),
        LIMITS,
        *_sections(pages),
        *(f"![{PurePosixPath(figure).stem.replace('_', ' ')}]({figure})\n" for figure in figures),
        DOCUMENTS + (CHANGED if pages.get(RECORDS, "changes") else ""),
        *([_openness(pages)] if pages.get(RECORDS, OPENNESS) else []),
        VERIFY,
        *([_proof(pages)] if pages.get(RECORDS, "proof") else []),
    ]
    return "\n".join(parts)


def _openness(pages: Pages) -> str:
    """The class of the Model Openness Framework, and what the next one lacks."""
    line = openness_line(pages.get(RECORDS, OPENNESS), pages.show(RECORDS, OPENNESS, "framework"))
    return f"## Openness\n\n{line}\n"


def _proof(pages: Pages) -> str:
    """What can be executed again, and what cannot and why."""
    parts = pages.get(RECORDS, "proof", "parts")
    named = ", ".join(pages.show(RECORDS, "proof", "parts", i) for i in range(len(parts)))
    lacking = [
        f"- {name}: {pages.show(RECORDS, 'proof', 'lacking', name)}" for name in pages.get(RECORDS, "proof", "lacking")
    ]
    missing = "\n\nNot in the proof:\n\n" + "\n".join(lacking) if lacking else ""
    return PROOF.format(parts=named, sha256=pages.show(RECORDS, "proof", "sha256")) + missing + "\n"


def _undecided(pages: Pages) -> Iterator[str]:
    """What the release's own policy could not decide, before anything else is said."""
    rows = pages.get(RECORDS, "policy", "verdicts") or []
    open_ones = [i for i, row in enumerate(rows) if row["verdict"] == "REVIEW"]
    if open_ones:
        named = (pages.show(RECORDS, "policy", "verdicts", i, "score") for i in open_ones)
        yield f"**REVIEW: its own policy could not be decided for {', '.join(named)}. See Gates.**\n"


def _gates(pages: Pages) -> str:
    """The policy's thresholds and what became of each."""
    where = (RECORDS, "policy", "verdicts")
    fields = ("score", "at_least", "at_most", "value", "low", "high", "items", "verdict", "reason")
    rows = ([pages.show(*where, i, field) for field in fields] for i in range(len(pages.get(*where) or [])))
    policy = pages.show(RECORDS, "policy", "name")
    return f"## Gates\n\nThe policy {policy} was signed before the evaluation.\n\n" + _table(
        (field.replace("_", " ") for field in fields), rows
    )


def _hazards(pages: Pages) -> str:
    """What the hazard suites found. Rates by the judge allow for its errors."""
    where = (SCORES, "about", "hazards")
    fields = ("value", "low", "high", "items")
    rows = (
        [told, *(pages.show(*where, name, field) for field in fields)]
        for name, told in HAZARD_FIGURES.items()
        if name in pages.get(*where)
    )
    return f"## Hazards\n\n{HAZARD_NOTE}" + _table(("", *fields), rows)


def licences_page(records: Records, policy: Policy) -> str:
    """LICENSES.md: the licence of the weights and of every source, with the archive that it was read from."""
    pages = Pages(records)
    lines = [
        "# Licences",
        "",
        f"The weights are given under {policy.weights_licence} (see LICENSE). They were learnt from:",
    ]
    for kind, title in (("corpus", "Texts"), ("dialogues", "Dialogues")):
        for i, source in enumerate(pages.get(SOURCES, kind) or []):
            lines += ["", f"## {title}: {_source_title(pages, kind, i)}", ""]
            lines += [f"- licence: {pages.show(SOURCES, kind, i, 'licence')}"]
            if source.get("description"):
                lines += [f"- content: {pages.show(SOURCES, kind, i, 'description')}"]
            for j in range(len(source.get("archives") or [])):
                shown = [
                    pages.show(SOURCES, kind, i, "archives", j, field) for field in ("name", "version", "registry")
                ]
                digest = pages.show(SOURCES, kind, i, "archives", j, "sha256")
                lines += [f"- archive: {shown[0]} {shown[1]} ({shown[2]}), sha256 {digest}"]
    lines += ["", "## What they allow together", ""]
    told = terms.together(pages.get(SOURCES) or {}, policy.weights_licence, policy.permitted_licences)
    lines += [line for sentence in told for line in (sentence, "")]
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(pages: Pages, policy: Policy) -> Iterator[str]:
    yield "---"
    yield f"license: {policy.weights_licence.lower()}"
    yield "language: en"
    yield "library_name: transformers"
    yield "pipeline_tag: text-generation"
    yield "tags: [ayllu, llama, conversational]"
    yield from model_index(pages, RECORDS, SCORES)
    yield "---\n"


def _sections(pages: Pages) -> Iterator[str]:
    shape = [(label, (RECORDS, "model", key)) for key, label in SHAPE.items()]
    yield "## Model\n\n" + _table(("", ""), ([label, pages.show(*path)] for label, path in shape))
    changes = list(_changes(pages))
    if changes:
        yield "## What training changed\n\n" + "\n".join(changes)
    training = list(_training(pages))
    if training:
        yield "## Training\n\n" + "\n".join(training)
    yield "## Energy and hardware\n\n" + "\n".join(_energy(pages))
    settings = list(_settings(pages))
    if settings:
        yield "## Settings\n\n" + "\n".join(settings)
    yield "## Scores\n\n" + "\n".join(_scores(pages))
    if pages.get(SCORES, "about", "hazards"):
        yield _hazards(pages)
    if pages.get(RECORDS, "policy", "verdicts"):
        yield _gates(pages)
    yield "## Data\n\n" + _data(pages)


def _training(pages: Pages) -> Iterator[str]:
    records = pages.get(RECORDS, "training") or {}
    compared = [column for column in ("predicted", "measured") if isinstance(records.get(column), dict)]
    if compared:
        rows = dict.fromkeys(path for column in compared for path, _ in _leaves(records[column]))
        yield _table(
            ("", *compared),
            ([_label(path), *(pages.show(RECORDS, "training", column, *path) for column in compared)] for path in rows),
        )
    kinds = records.get("posttraining")
    if isinstance(kinds, dict):
        fields = list(dict.fromkeys(field for record in kinds.values() for field in record))
        yield _table(
            ("", *(_label((field,)) for field in fields)),
            ([kind, *(pages.show(RECORDS, "training", "posttraining", kind, f) for f in fields)] for kind in kinds),
        )
    told = (*compared, "description", "posttraining", "comparison", "settings", "machine", "energy_kwh")
    facts = {key: value for key, value in records.items() if key not in told}
    rows_of_facts = [[_label(path), _shown_value(pages, path, value)] for path, value in _leaves(facts)]
    if rows_of_facts:
        yield _table(("", ""), rows_of_facts)


def _energy(pages: Pages) -> Iterator[str]:
    """The machine, and what it used; what has no meter is not guessed."""
    machine = pages.get(RECORDS, "training", "machine")
    if isinstance(machine, dict) and machine:
        rows = [[_label(path), _shown_value(pages, ("machine", *path), value)] for path, value in _leaves(machine)]
        yield _table(("", ""), rows)
    else:
        yield "The machine was not recorded.\n"
    energy = pages.get(RECORDS, "training", "energy_kwh")
    if isinstance(energy, int | float):
        yield f"Energy of the training: {pages.show(RECORDS, 'training', 'energy_kwh')} kWh, measured.\n"
    else:
        yield "The energy of the training was not measured: the machine has no meter that Ayllu reads.\n"


def _settings(pages: Pages) -> Iterator[str]:
    """What the training was given: the command, and the arguments of every step."""
    rows = pages.get(RECORDS, "training", "settings")
    if not isinstance(rows, list):
        return
    fields = ("stage", "setting", "value")
    yield _table(
        fields, ([pages.show(RECORDS, "training", "settings", i, f) for f in fields] for i in range(len(rows)))
    )


def _changes(pages: Pages) -> Iterator[str]:
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
        row(_label((name,)), step, "skills", name, step)
        for name, steps in comparison.get("skills", {}).items()
        for step in steps
    ]
    final = "adopted to final"
    rows += [row(_set_title(pages, name), final, "benchmarks", name) for name in comparison.get("benchmarks", {})]
    if "pooled" in comparison:
        rows.append(row("benchmarks together", final, "pooled"))
    if rows:
        yield _table(("right answers", "from … to", "items", "before", "after", "difference", "interval"), rows)
        yield (
            "Differences are in percentage points, paired on the same held-out items; their intervals hold with "
            "ninety-five per cent confidence.\n"
        )


def _scores(pages: Pages) -> Iterator[str]:
    sets = pages.get(SCORES, "sets") or {}
    if sets:
        yield _table(SET_HEAD, (_set_row(pages, key, entry) for key, entry in sets.items()))
        yield SET_NOTE
    sources = pages.get(SCORES, "bits_per_byte") or {}
    if sources:
        yield _table(HELDOUT_HEAD, (_heldout_row(pages, key) for key in sources))


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


def _data(pages: Pages) -> str:
    rows = [
        [
            _source_title(pages, kind, i),
            pages.show(SOURCES, kind, i, "licence"),
            pages.show(SOURCES, kind, i, "documents"),
            pages.show(SOURCES, kind, i, "bytes"),
        ]
        for kind in ("corpus", "dialogues")
        for i in range(len(pages.get(SOURCES, kind) or []))
    ]
    return _table(("source", "licence", "documents", "bytes"), rows)


def _source_title(pages: Pages, kind: str, i: int) -> str:
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


def _label(path: tuple[str, ...]) -> str:
    return ", ".join(step.replace("_", " ") for step in path)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
