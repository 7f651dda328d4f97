"""Measuring a model: benchmarks, held-out text, skills, and what training changed."""

from __future__ import annotations

import json
import statistics
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.progress import say
from ayllu.recipes.stages.artifacts import Comparison, Replies, SafetyChange, ScoreFolder, Weights
from ayllu.recipes.stages.corpus import source_names

if TYPE_CHECKING:
    from ayllu.data.corpus import Corpus
    from ayllu.model.transformer import Transformer
    from ayllu.recipes.stages.posttrain import PosttrainPlan
    from ayllu.text.tokenizer import Tokenizer

TRAINED_ON = {
    "everyday-english": ("hellaswag",),
    "boolq-passages": ("boolq",),
    "everyday-chat": ("piqa", "social-iqa"),
}
"""Benchmarks whose training part a source holds: their scores are labelled so."""
VERDICTS = (
    ("tool_calls", "exact"),
    ("tool_calls", "read"),
    ("strangers_calls", "exact"),
    ("reasoning", "correct"),
    ("reasoning", "format"),
    ("long_sums", "correct"),
)
"""Kinds of items, and what is judged of each reply."""
MEMORY_DOCUMENTS = 5_000
"""Documents of the corpus, the first, from which those are drawn that memory is measured on."""
MARGIN, SKILL_MARGIN = 0.02, 0.05
"""A loss of accuracy is ruled out where the interval of the difference lies above -0.02 (benchmarks), -0.05 (skills, of
which there are a tenth as many items)."""
BENCHMARKS = 0.1
"""Share of a recipe's minutes that the benchmarks of one model may take: the adopted and the final one have them."""
PARTS = (1.0, 3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 6)
"""Of the items that are wanted, those that are measured: the first part that fits. Few parts, so that another run on
the same machine has the same items, and finds what one has measured of the adopted model."""
TRIED = 10
"""Items of each set that are timed."""
TAUGHT = {
    "tool_calls exact": "tool calls exactly right",
    "strangers_calls exact": "calls of strangers' tools exactly right",
    "reasoning correct": "sums right",
    "long_sums correct": "long sums right",
}
"""Rows of skills that must not be lost, and what they are called."""


@stage(identity="evaluate", makes=ScoreFolder, added={"policy": None, "hazards": None})
def evaluate(
    ctx: Context,
    model: Handle[Weights],
    base: Handle[Weights],
    text: Handle[Corpus],
    tokenizer: Handle[Tokenizer],
    *,
    items: int,
    policy: dict[str, str] | None = None,
    hazards: int | None = None,
) -> None:
    """Scores of the finished model: benchmark sets, and held-out bits per byte by source; these of its base too.

    `hazards` is how many items of each hazard suite are measured; None measures none.
    """
    from ayllu.evals.contamination.exact import find_overlap
    from ayllu.evals.likelihood.heldout import bits_per_byte, document_bits
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.model.files import hf
    from ayllu.train.machine import dtype_of, fastest_precision

    weights, vocabulary, documents = hf.load(model.value).eval(), tokenizer.value, text.value
    dtype = dtype_of(fastest_precision())
    suite = load_suite("small", items_per_set=items, cache=ctx.cache)
    names = source_names(documents)
    trained = {name: held for name, held in TRAINED_ON.items() if name == "everyday-chat" or name in names}
    overlap = find_overlap(suite.items, (document.text for document in documents.documents("train")))
    scores = evaluate_suite(
        weights,
        vocabulary,
        suite,
        dtype=dtype,
        trains_on=trained,
        overlap=overlap,
        about=_under(policy) | _hazards(ctx, weights, vocabulary, documents, hazards),
        folder=ctx.scratch / "items",
    )
    heldout_ = [(document.source, document.text) for document in documents.documents("heldout")]
    scores = scores.with_documents(document_bits(weights, vocabulary, heldout_, total=len(heldout_), dtype=dtype))
    scores.save(ctx.folder)
    stated = scores.as_json()
    ctx.note("bits_per_byte", {name: score["value"] for name, score in stated["bits_per_byte"].items()})
    before = bits_per_byte(hf.load(base.value).eval(), vocabulary, heldout_, dtype=dtype)
    ctx.note("base_bits_per_byte", {name: interval.value for name, interval in before.items()})


def _hazards(
    ctx: Context, weights: Transformer, tokenizer: Tokenizer, documents: Corpus, items: int | None
) -> dict[str, Any]:
    """The figures of the hazard suites for the scores; memory is measured on the corpus that the model learnt from."""
    if not items:
        return {}
    import torch

    from ayllu.safety.judge.judge import load_judge
    from ayllu.safety.suites.figures import gate_figures
    from ayllu.safety.suites.files import HazardFile
    from ayllu.safety.suites.subject import Subject
    from ayllu.safety.suites.suite import measure_hazards

    texts = [{"text": document.text} for document in islice(documents.documents("train"), MEMORY_DOCUMENTS)]
    corpus = HazardFile(name="the training corpus", sha256="", rows=texts)
    subject = Subject(transformer=weights, tokenizer=tokenizer, dtype=torch.float32)
    found = measure_hazards(subject, load_judge(), {"corpus": corpus}, items=items, cache=ctx.cache)
    return {"hazards": gate_figures(found)}


def _after_tuning(safety: Handle[SafetyChange] | None) -> dict[str, Any]:
    """The figures of a model whose safety was tuned, as those of the hazard suites stand in scores."""
    from ayllu.safety.tuning.change import final_figures

    if safety is None:
        return {}
    return {"hazards": final_figures(json.loads((safety.value / "safety.json").read_text()))}


def _under(policy: dict[str, str] | None) -> dict[str, Any]:
    """What scores keep of the policy that was signed before they were measured: its digests."""
    return {"policy": policy} if policy else {}


@stage(identity="heldout", makes=ScoreFolder, added={"policy": None})
def heldout(
    ctx: Context,
    model: Handle[Weights],
    text: Handle[Corpus],
    tokenizer: Handle[Tokenizer],
    *,
    documents: int,
    policy: dict[str, str] | None = None,
) -> None:
    """Bits per byte of held-out documents."""
    from ayllu.evals.dtype import dtype_for, torch_dtype
    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.score import Scores
    from ayllu.model.files import hf
    from ayllu.model.files.hf_config import load_config

    dtype = torch_dtype(dtype_for(load_config(model.value).parameters))
    weights = hf.load(model.value, dtype=dtype).eval()
    chosen = [(document.source, document.text) for document in islice(text.value.documents("heldout"), documents)]
    bits = document_bits(weights, tokenizer.value, chosen, total=len(chosen))
    scores = Scores(about=_under(policy)).with_documents(bits)
    scores.save(ctx.folder)
    ctx.note("bits_per_byte", {name: score["value"] for name, score in scores.as_json()["bits_per_byte"].items()})


def open_count(folder: Path) -> int:
    """Items of each set."""
    return int(json.loads((folder / "items.json").read_text())["items_per_set"])


@stage(identity="benchmark_items", makes=open_count)
def plan_benchmarks(
    ctx: Context, base: Handle[Weights], plan: Handle[PosttrainPlan], *, budget: float, most: int
) -> None:
    """How many items of each set the benchmarks have, of `most`: what their share of `budget` minutes is enough for."""
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.recipes.stages.weights import load_weights
    from ayllu.train.machine import dtype_of

    (weights, vocabulary), dtype = load_weights(base.value), dtype_of(plan.value.precision)
    seconds = 0.0
    for count in (1, TRIED):  # what is made at first use is not the items' time
        suite = load_suite("small", items_per_set=count, cache=ctx.cache)
        began = perf_counter()
        evaluate_suite(weights.eval(), vocabulary, suite, dtype=dtype)
        seconds = (perf_counter() - began) / count
    fits = 60 * budget * BENCHMARKS / seconds
    items = max(1, round(most * next((part for part in PARTS if most * part <= fits), PARTS[-1])))
    if items < most:
        say(f"benchmarks: {items:,} items of each set, not {most:,}: {items * seconds / 60:.0f} minutes for a model")
    (ctx.folder / "items.json").write_text(json.dumps({"items_per_set": items}) + "\n")
    ctx.note("items_per_set", items)
    ctx.note("seconds_for_one_of_each", round(seconds, 4))


@stage(identity="benchmarks", makes=ScoreFolder, added={"policy": None, "safety": None, "counted": None})
def benchmarks(
    ctx: Context,
    model: Handle[Weights],
    plan: Handle[PosttrainPlan],
    *,
    items: int,
    policy: dict[str, str] | None = None,
    safety: Handle[SafetyChange] | None = None,
    counted: Handle[int] | None = None,
) -> None:
    """HellaSwag, PIQA and ARC-Easy, `items` of each or as many as were `counted` to fit in the time.

    Where safety was tuned, its figures stand beside them, for the policy's thresholds.
    """
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import dtype_of

    weights, vocabulary = hf.load(model.value).eval(), Tokenizer.load(model.value)
    suite = load_suite("small", items_per_set=counted.value if counted else items, cache=ctx.cache)
    scores = evaluate_suite(
        weights,
        vocabulary,
        suite,
        dtype=dtype_of(plan.value.precision),
        about=_under(policy) | _after_tuning(safety),
        folder=ctx.scratch / "items",
    )
    scores.save(ctx.folder)


@stage(identity="skills", makes=Replies, rev=2)
def skills(
    ctx: Context, model: Handle[Weights], plan: Handle[PosttrainPlan], *, items: int, kinds: tuple[str, ...]
) -> None:
    """Replies to requests for tools (`tool_calls` ours, `strangers_calls` not) and sums (`reasoning`, `long_sums`)."""
    from ayllu.data.conversations.reasoning import distinct_items
    from ayllu.data.conversations.tool_requests import make_requests
    from ayllu.evals.skills.bfcl import draw_requests, score_strangers_calls
    from ayllu.evals.skills.reasoning import score_reasoning
    from ayllu.evals.skills.tool_calls import score_tool_calls
    from ayllu.model.files import hf
    from ayllu.recipes.stages.methods import MOST_ITEMS, SUMS, sums
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import dtype_of

    weights, vocabulary = hf.load(model.value), Tokenizer.load(model.value)
    dtype = dtype_of(plan.value.precision)
    rows: dict[str, list[dict[str, Any]]] = {}
    if "tool_calls" in kinds:
        asked = list(make_requests("held out", items, seed=0))
        rows["tool_calls"] = score_tool_calls(weights, vocabulary, asked, dtype=dtype)
    if "strangers_calls" in kinds:
        strangers = draw_requests(min(items, MOST_ITEMS), ctx.cache)
        rows["strangers_calls"] = score_strangers_calls(weights, vocabulary, strangers, dtype=dtype)
    for kind in (kind for kind in SUMS if kind in kinds):
        family = sums(ctx.cache, kind)
        held = distinct_items(family, min(items, MOST_ITEMS), held_out=True)
        rows[kind] = score_reasoning(weights, vocabulary, family, held, dtype=dtype)
    (ctx.folder / "replies.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    for name, verdict in VERDICTS:
        if name in rows:
            ctx.note(f"{name}_{verdict}", statistics.mean(row[verdict] for row in rows[name]))


@stage(identity="safety_change", makes=SafetyChange)
def measure_safety(
    ctx: Context, adopted: Handle[Weights], final: Handle[Weights], plan: Handle[PosttrainPlan], *, items: int
) -> None:
    """Replies to held-out harmful requests and to harmless ones that sound harmful, before and after, judged."""
    from ayllu.recipes.stages.figures import draw_safety
    from ayllu.recipes.stages.weights import load_weights
    from ayllu.safety.judge.judge import load_judge
    from ayllu.safety.suites.subject import Subject
    from ayllu.safety.tuning.change import compare_replies, judged_replies
    from ayllu.train.machine import dtype_of

    dtype, judge, sides = dtype_of(plan.value.precision), load_judge(), []
    for weights in (adopted.value, final.value):
        model, tokenizer = load_weights(weights)
        subject = Subject(transformer=model.eval(), tokenizer=tokenizer, dtype=dtype)
        sides.append(judged_replies(subject, judge, items, ctx.cache))
    change = compare_replies(*sides, errors=judge.about["errors"])
    lines = [{"side": side, **row} for side, rows in zip(("before", "after"), sides, strict=True) for row in rows]
    (ctx.folder / "replies.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    (ctx.folder / "safety.json").write_text(json.dumps(change, indent=2) + "\n")
    draw_safety(change, ctx.folder / "safety.png")
    ctx.note("safety", change)


@stage(identity="compare", makes=Comparison, reruns=True)
def compare(
    ctx: Context,
    skills_before: Handle[Replies],
    skills_between: Handle[Replies] | None,
    skills_after: Handle[Replies],
    scores_before: Handle[ScoreFolder],
    scores_after: Handle[ScoreFolder],
    grpo: Handle[Weights] | None,
) -> None:
    """Before and after on the same held-out items, paired, and the curve of the rewards where there were any."""
    from ayllu.evals.comparison.compare import compare_scores, compare_verdicts
    from ayllu.evals.recompute import recompute
    from ayllu.recipes.stages.figures import draw_rewards
    from ayllu.train.objectives.grpo import read_rewards

    sides = (skills_before, skills_between, skills_after)
    before, between, after = (json.loads((side.value / "replies.json").read_text()) if side else {} for side in sides)
    table: dict[str, dict[str, Any]] = {}
    for name, verdict in ((name, verdict) for name, verdict in VERDICTS if name in before):
        start, last = (_verdicts(rows[name], verdict) for rows in (before, after))
        clusters = [item["function"] for item in before[name]] if "function" in before[name][0] else None
        row = {"adopted to final": compare_verdicts(start, last, clusters=clusters)}
        if name in between:
            row["adopted to after sums"] = compare_verdicts(start, _verdicts(between[name], verdict))
        table[f"{name} {verdict}"] = row
    first, second = scores_before.value, scores_after.value
    sets = compare_scores(recompute(first), recompute(second))["sets"]
    for entry in sets.values():
        entry["non_inferior"] = entry["accuracy"]["low"] > -MARGIN
    whole = {"skills": table, "benchmarks": sets, "pooled": _pooled(first, second)}
    (ctx.folder / "comparison.json").write_text(json.dumps(whole, indent=2) + "\n")
    if grpo is not None:
        draw_rewards(read_rewards(grpo.value / "rewards.jsonl"), ctx.folder / "rewards.png")
    ctx.note("comparison", whole)


def losses(comparison: dict[str, Any]) -> list[str]:
    """What `compare` could not show to be kept of the adopted model, one phrase each: a reason not to release."""
    skills = comparison["skills"]
    found = [
        (title, skills[name]["adopted to final"], SKILL_MARGIN) for name, title in TAUGHT.items() if name in skills
    ]
    found.append(("benchmarks together", comparison["pooled"], MARGIN))
    return [
        f"{title} {100 * row['difference']['value']:+.1f} points "
        f"({100 * row['difference']['low']:.1f} to {100 * row['difference']['high']:.1f}) of {row['items']}"
        for title, row, margin in found
        if row["difference"]["low"] <= -margin
    ]


def check_refusals(name: str, safety: dict[str, Any]) -> None:
    """Raises UserError where a model whose safety was tuned may refuse, or babble at, more that is harmless."""
    from ayllu.safety.tuning.change import rises

    if up := rises(safety):
        raise UserError(
            f"{name} is not released: after the tuning of its safety a rise cannot be ruled out ({'; '.join(up)}); "
            "give it another --seed or more minutes, or more --items to measure by"
        )


def _verdicts(rows: list[dict[str, Any]], verdict: str) -> list[bool]:
    return [bool(row[verdict]) for row in rows]


def _pooled(first: Path, second: Path) -> dict[str, Any]:
    """The difference in accuracy over the items of all sets together: three times the items, so a narrower interval."""
    from ayllu.evals.comparison.compare import compare_verdicts
    from ayllu.evals.recompute import recompute
    from ayllu.evals.score import headline

    sides = []
    for folder in (first, second):
        sets = recompute(folder).by_set()
        sides.append(
            {
                outcome.id: outcome.correct_norm if headline(name) == "accuracy_norm" else outcome.correct
                for name, outcomes in sets.items()
                for outcome in outcomes
            }
        )
    keys = sorted(sides[0])
    found = compare_verdicts([sides[0][key] for key in keys], [sides[1][key] for key in keys])
    return found | {"non_inferior": found["difference"]["low"] > -MARGIN}
