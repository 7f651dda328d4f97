"""The technical report of a release: data, architecture, training, evaluation, energy and limits, from its records.

The Model Openness Framework asks for one from its class III on. It is a page like the card: every number in it is a
reference to the records, and `ayllu.release.gates` looks each of them up, and for each of its parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ayllu.release.documents import terms
from ayllu.release.documents.bill_of_materials import LIMITS
from ayllu.release.gates import RECORDS, REPORT_PARTS, SCORES, SOURCES
from ayllu.release.pages.sections import (
    changes_section,
    data_section,
    energy_section,
    gates_section,
    hazards_section,
    safety_section,
    scores_section,
    settings_section,
    shape_section,
    table,
    training_section,
)
from ayllu.release.policy import Policy
from ayllu.release.reference import Pages, Records

DATA = (
    "[LICENSES.md](LICENSES.md) names licence and archive of each source, "
    "[the summary of the training content](documents/TRAINING_CONTENT.md) sorts them after the EU's template, and "
    "[the data card](documents/croissant.json) lists them for programs. A dash says that nothing was counted. What was "
    "cleaned, dropped or masked stands in the record of a corpus, which this release does not hold."
)
ARCHITECTURE = (
    "A decoder of the Llama-3 architecture "
    "([Grattafiori et al.](https://arxiv.org/abs/2407.21783), section “Model Architecture”): blocks of causal "
    "self-attention and a gated feed-forward network, each behind a root-mean-square norm and added to a residual "
    "stream. Query heads share key and value heads in groups, as many as the table says; positions are rotations of "
    "queries and keys; the feed-forward network is SwiGLU; no layer has a bias. `config.json` holds the whole shape, "
    "`tokenizer.json` the vocabulary and how text is cut into it, and `chat_template.jinja` how a conversation is "
    "written.\n"
)
MORE_SHAPE = {
    "head_width": "width of a head",
    "rope_theta": "base of the rotary frequencies",
    "norm_epsilon": "epsilon of the norms",
    "tied": "input and output embedding are one",
    "digest": "digest of the weights",
}
EVALUATION = (
    "`items.jsonl` and `documents.jsonl` hold the outcome of every question and document, from which verification "
    "computes each score below again. Intervals are of ninety-five per cent confidence: Wilson's for shares, paired "
    "ones for differences on the same items. What is not listed was not measured.\n"
)
NOT_HERE = "The records say nothing of it.\n"
AGAIN = (
    "What was learnt from archives can be learnt again with Ayllu, whose code is open (Apache-2.0), from the settings "
    "above and the archives that `sources.json` pins by digest; a source without an archive has to come from whoever "
    "has it. [The card](README.md) says how this release is verified."
)


def technical_report(records: Records, policy: Policy, *, figures: Iterable[str] = ()) -> str:
    """TECHNICAL_REPORT.md; `figures` are paths inside the release."""
    pages = Pages(records)
    told = {
        "Data": _data(pages, policy),
        "Architecture": ARCHITECTURE + "\n" + shape_section(pages) + _more_shape(pages),
        "Training": "\n".join([*_training(pages), *_pictures(figures)]) or NOT_HERE,
        "Evaluation": EVALUATION + "\n" + "\n".join(_evaluation(pages)),
        "Energy and hardware": "\n".join(energy_section(pages)),
        "Limits": "\n".join(_limits(pages)),
        "Making it again": _again(pages),
    }
    assert tuple(told) == REPORT_PARTS
    name, version = (pages.show(RECORDS, "release", field) for field in ("name", "version"))
    described = pages.get(RECORDS, "training", "description")
    opening = [pages.show(RECORDS, "training", "description") + "\n"] if described else []
    parts = [f"## {part}\n\n{text.rstrip()}\n" for part, text in told.items()]
    return "\n".join([f"# Technical report of {name}, version {version}\n", *opening, *parts])


def _data(pages: Pages, policy: Policy) -> str:
    """The sources, and what their licences allow together."""
    together = terms.together(pages.get(SOURCES) or {}, policy.weights_licence, policy.permitted_licences)
    return "\n".join([data_section(pages), DATA, "", *together])


def _more_shape(pages: Pages) -> str:
    """Rows under those that the card has."""
    model = pages.get(RECORDS, "model") or {}
    rows = [[label, pages.show(RECORDS, "model", key)] for key, label in MORE_SHAPE.items() if key in model]
    return "\n" + table(("", ""), rows)


def _training(pages: Pages) -> Iterator[str]:
    yield from training_section(pages)
    settings = list(settings_section(pages))
    if settings:
        yield "What each step was given:\n"
        yield from settings


def _pictures(figures: Iterable[str]) -> Iterator[str]:
    for figure in figures:
        yield f"![{PurePosixPath(figure).stem.replace('_', ' ')}]({figure})\n"


def _evaluation(pages: Pages) -> Iterator[str]:
    yield from scores_section(pages)
    changes = list(changes_section(pages))
    if changes:
        yield "### What training changed\n"
        yield from changes
    further = (
        ((RECORDS, "training", "safety"), safety_section),
        ((SCORES, "about", "hazards"), hazards_section),
        ((RECORDS, "policy", "verdicts"), gates_section),
    )
    for (file, *path), section in further:
        if pages.get(file, *path):
            yield "#" + section(pages)


def _limits(pages: Pages) -> Iterator[str]:
    yield from (f"- {limit}" for limit in LIMITS)
    if not pages.get(SCORES, "about", "hazards"):
        yield "- No hazard was measured."
    rows = pages.get(RECORDS, "policy", "verdicts") or []
    for i, row in enumerate(rows):
        if row["verdict"] == "REVIEW":
            yield f"- Its policy could not be decided for {pages.show(RECORDS, 'policy', 'verdicts', i, 'score')}."
    lacking = pages.get(RECORDS, "proof", "lacking") or {}
    for name in lacking:
        yield f"- {name} cannot be executed again: {pages.show(RECORDS, 'proof', 'lacking', name)}"
    yield "- [Acceptable use](documents/ACCEPTABLE_USE.md) says what it is for, and what not."


def _again(pages: Pages) -> str:
    command = pages.get(RECORDS, "training", "command")
    told = [f"The command: {pages.show(RECORDS, 'training', 'command')}\n"] if isinstance(command, str) else []
    parts = pages.get(RECORDS, "proof", "parts") or []
    if parts:
        named = ", ".join(pages.show(RECORDS, "proof", "parts", i) for i in range(len(parts)))
        told.append(f"A proof beside the release executes again: {named}.\n")
    return "\n".join([*told, AGAIN])
