"""The stages of a ladder: sizes and tokens, the training of a rung, the law so far, and what came of the forecast.

A rung from the fourth on takes in the law of those below it: its key holds the forecast's digest, so that nothing can
have been trained before it was predicted.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.store import write_atomically
from ayllu.recipes.limits import tell_time
from ayllu.recipes.scaling.ladder import BATCH, HEADS, LEAST_STEPS, Ladder, build_ladder, shape, wide_enough
from ayllu.recipes.scaling.tasks import compared
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.corpus import used_sources
from ayllu.recipes.stages.pretrain import keep_weights, present

if TYPE_CHECKING:
    from ayllu.data.corpus import Corpus
    from ayllu.data.tokens.loader import Loader
    from ayllu.data.tokens.pack import Tokens
    from ayllu.evals.scaling.law import Fit
    from ayllu.evals.score import Scores
    from ayllu.model.config import ModelConfig
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.loop import TrainConfig, TrainResult

MAIN = "everyday-english"
TIMED = 5
"""Steps of each shape that are timed."""
LAW, REPORT, PICTURE = "law.json", "scaling.json", "scaling.png"


def open_ladder(folder: Path) -> Ladder:
    return Ladder.read(folder / "ladder.json")


def open_law(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / LAW).read_text())
    return found


def open_report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / REPORT).read_text())
    return found


@stage(identity="fit_ladder", makes=open_ladder)
def fit_ladder(
    ctx: Context, tokens: Handle[Tokens], *, rungs: int, budget: float, seed: int, speed: float | None,
    mix: dict[str, float],
) -> None:  # fmt: skip
    """Shapes and tokens of `rungs` sizes for `budget` minutes; `speed` is FLOP/s, measured on each shape without it."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.train.budget import measure
    from ayllu.train.flops import training_flops
    from ayllu.train.loop import TrainConfig
    from ayllu.train.machine import fastest_precision

    header = tokens.value.header
    loader = Loader(tokens.value, seed=seed, weights=present(tokens.value, mix))
    trial = TrainConfig(steps=1000, batch=BATCH, warmup=10, precision=fastest_precision())

    def timed(config: ModelConfig) -> float:
        if speed:
            return speed / training_flops(config, loader.length)
        return measure(config, loader, trial, seed=seed, steps=TIMED)

    for head in HEADS:
        shapes = [shape(rung, head=head, vocabulary=header.vocabulary, length=loader.length) for rung in range(rungs)]
        top = timed(shapes[-1])
        if wide_enough(shapes[-1], top, seconds=60 * budget):
            break
    speeds = [*(timed(config) for config in shapes[:-1]), top]
    ladder = build_ladder(shapes, speeds, seconds=60 * budget, length=loader.length, precision=trial.precision)
    ladder.write(ctx.folder / "ladder.json")
    fewest = f"{LEAST_STEPS} steps are the fewest of a rung's smallest token count"
    tell_time(ctx, asked=60 * budget, expected=sum(rung.seconds for rung in ladder.rungs), fewest=fewest)


@stage(identity="rung", makes=Weights, added={"tasks": None})
def train_rung(
    ctx: Context,
    tokens: Handle[Tokens],
    tokenizer: Handle[Tokenizer],
    text: Handle[Corpus],
    ladder: Handle[Ladder],
    law: Handle[dict[str, Any]] | None,
    tasks: Handle[dict[str, Any]] | None = None,
    *,
    index: int,
    seed: int,
    mix: dict[str, float],
    documents: int,
) -> None:
    """The weights of a rung's most tokens, and held-out bits per byte after each of its token counts.

    One run whose rate stays; from it a decay branches off for each count. `law` holds the forecast of this rung, and
    `tasks` that of its scores: nothing of it can be trained before both are there.
    """
    from ayllu.data.tokens.loader import Loader

    plan = ladder.value.rungs[index]
    ctx.predict("seconds", plan.seconds)
    if law is not None:
        last = law.value["next"]["losses"][-1]
        ctx.predict("bits_per_byte", last["loss"], low=last["low"], high=last["high"])
    loader = Loader(tokens.value, seed=seed, weights=present(tokens.value, mix))
    branches = _Branches(ctx, ladder.value, index, loader, seed)
    points: list[dict[str, Any]] = ctx.record.get("points", [])
    for number in range(len(points), len(plan.steps)):
        result = branches.train(number)
        scores = _heldout(result.model, tokenizer.value, text.value, documents)
        ((source, bits),) = scores.as_json()["bits_per_byte"].items()
        seconds = round(ctx.record.get("branch_seconds", 0.0) + branches.seconds, 1)
        row = {"tokens": plan.tokens[number], "flops": plan.flops[number], "loss": bits["value"], **bits}
        points = [*points, {name: row[name] for name in ("tokens", "flops", "loss", "low", "high")}]
        ctx.note("branch_seconds", seconds)
        ctx.note("points", points)
        if number + 1 == len(plan.steps):
            keep_weights(ctx, tokenizer.value, result, branches.config(number), loader.length)
            scores.save(ctx.folder)
            ctx.note("source", source)
        branches.forget(number)
    ctx.note("rung", index + 1)
    ctx.note("matrix_parameters", plan.parameters)
    ctx.note("seconds", ctx.record["branch_seconds"])
    ctx.note("bits_per_byte", points[-1]["loss"])


class _Branches:
    """The one run of a rung, and what branches off from it."""

    def __init__(self, ctx: Context, ladder: Ladder, index: int, loader: Loader, seed: int) -> None:
        self._scratch, self._logs = ctx.scratch, ctx.logs
        self._ladder, self._index, self._loader, self._seed = ladder, index, loader, seed
        self.seconds = 0.0
        """Inside the steps of the last branch and of the trunk before it."""

    def config(self, number: int, *, trunk: bool = False) -> TrainConfig:
        """A branch, or the run as far as where it branches off."""
        from ayllu.train.loop import TrainConfig

        plan = self._ladder.rungs[self._index]
        stable = plan.stable[number]
        return TrainConfig(
            steps=stable if trunk else plan.steps[number],
            batch=self._ladder.batch,
            warmup=max(min(plan.stable[0] // 4, 100), 1),
            stable=stable,
            precision=self._ladder.precision,
        )

    def train(self, number: int) -> TrainResult:
        """The model of a token count: the run up to its decay, then the decay on a copy of it."""
        trunk, branch = self._scratch / "trunk", self._scratch / f"branch-{number}"
        before = self._ladder.rungs[self._index].stable[number - 1] if number else 0
        base = self._run(self.config(number, trunk=True), trunk, "stays", keep_last=True)
        if not branch.exists():
            draft = branch.with_name(f"{branch.name}.copied")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.copytree(trunk, draft)
            draft.rename(branch)
        result = self._run(self.config(number), branch, "decays")
        steps = len(base.losses)
        self.seconds = base.seconds * (steps - before) / steps + result.seconds - base.seconds
        return result

    def _run(self, config: TrainConfig, scratch: Path, word: str, *, keep_last: bool = False) -> TrainResult:
        from ayllu.model.transformer import Transformer
        from ayllu.train.loop import Execution, train

        model = Transformer(self._ladder.rungs[self._index].model)
        model.initialise(self._seed)
        title = f"rung {self._index + 1} of {len(self._ladder.rungs)}, rate {word}"
        return train(
            model, self._loader, config, scratch=scratch, title=title, execution=Execution(logs=self._logs),
            keep_last=keep_last,
        )  # fmt: skip

    def forget(self, number: int) -> None:
        """Let go of a branch whose figures are noted."""
        shutil.rmtree(self._scratch / f"branch-{number}", ignore_errors=True)


def _heldout(model: Transformer, tokenizer: Tokenizer, text: Corpus, documents: int) -> Scores:
    """The first held-out documents of the plain English that small models learn from, else of the first source."""
    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.score import Scores

    names = [source["name"] for source in used_sources(text)]
    source = MAIN if MAIN in names else names[0]
    chosen = [(d.source, d.text) for d in islice(text.documents("heldout", source), documents)]
    return Scores().with_documents(document_bits(model.eval(), tokenizer, chosen, total=len(chosen)))


@stage(identity="scaling_law", makes=open_law)
def law_so_far(
    ctx: Context,
    before: Handle[dict[str, Any]] | None,
    rung: Handle[Weights],
    ladder: Handle[Ladder],
    *,
    index: int,
    seed: int,
) -> None:
    """The points of all rungs so far, and from the third on the law of them and the forecast of the next."""
    from ayllu.evals.scaling.law import fit_law

    points = [*(before.value["points"] if before is not None else []), *points_of(index, rung.artifact.record)]
    kept: dict[str, Any] = {"points": points, "fit": None, "next": None}
    if index >= 2:
        found = fit_law(as_points(points), seed=seed)
        kept["fit"] = found.as_json()
        kept["next"] = _forecast(found, ladder.value, index + 1, seed)
    write_atomically(ctx.folder / LAW, json.dumps(kept, indent=1) + "\n")


def points_of(index: int, record: dict[str, Any]) -> list[dict[str, Any]]:
    """What the record of a rung says of each of its token counts."""
    return [{"rung": index + 1, "parameters": record["matrix_parameters"], **row} for row in record["points"]]


def as_points(rows: list[dict[str, Any]]) -> list[Any]:
    """Rows of a record as points of a fit."""
    from ayllu.evals.scaling.law import Point

    return [Point(**{name: row[name] for name in ("rung", "parameters", "tokens", "loss")}) for row in rows]


def _forecast(found: Fit, ladder: Ladder, index: int, seed: int) -> dict[str, Any]:
    """What the law says of the next rung, at each of its token counts."""
    rung = ladder.rungs[index]
    losses = []
    for tokens, flops in zip(rung.tokens, rung.flops, strict=True):
        low, high = found.interval(rung.parameters, tokens, seed=seed)
        value = found.law.loss(rung.parameters, tokens)
        losses.append({"tokens": tokens, "flops": flops, "loss": value, "low": low, "high": high})
    return {"rung": index + 1, "parameters": rung.parameters, "losses": losses, "points": len(found.points)}


@stage(identity="scaling", makes=open_report, added={"tasks": None})
def scaling_report(
    ctx: Context,
    law: Handle[dict[str, Any]],
    rung: Handle[Weights],
    ladder: Handle[Ladder],
    tasks: Handle[dict[str, Any]] | None = None,
    *,
    recipe: str,
    index: int,
    seed: int,
) -> None:
    """The law that predicted the largest rung, the forecast, what came of it, and the law with that rung too."""
    from ayllu.evals.scaling.law import fit_law
    from ayllu.recipes.scaling.picture import draw_scaling

    before, record = law.value, rung.artifact.record
    measured = points_of(index, record)
    predicted = before["next"]
    report: dict[str, Any] = {
        "recipe": recipe,
        "metric": f"bits_per_byte {record['source']}",
        "fit": before["fit"],
        "predicted": {**predicted, "made": law.artifact.manifest["finished"]},
        "measured": {
            "rung": index + 1,
            "parameters": record["matrix_parameters"],
            "losses": [_compared(p, m) for p, m in zip(predicted["losses"], measured, strict=True)],
            "began": rung.artifact.manifest["started"],
        },
        "points": [*before["points"], *measured],
        "refit": fit_law(as_points([*before["points"], *measured]), seed=seed).as_json(),
        "rungs": [{**asdict(each), "model": asdict(each.model)} for each in ladder.value.rungs],
        "machine": rung.artifact.manifest["machine"],
    }
    if tasks is not None:
        report["tasks"] = compared(tasks.value)
    last = report["measured"]["losses"][-1]
    report |= {"error_pct": last["error_pct"], "inside": last["inside"]}
    write_atomically(ctx.folder / REPORT, json.dumps(report, indent=1) + "\n")
    draw_scaling(report, ctx.folder / PICTURE)
    ctx.note("error_pct", report["error_pct"])
    ctx.note("inside", report["inside"])
    ctx.note("bits_per_byte", last["loss"])


def _compared(predicted: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """What came at one token count, and how far from the forecast: positive where less was expected."""
    return {
        "tokens": measured["tokens"],
        "flops": measured["flops"],
        "loss": measured["loss"],
        "error_pct": round(100 * (measured["loss"] / predicted["loss"] - 1), 3),
        "inside": predicted["low"] <= measured["loss"] <= predicted["high"],
    }
