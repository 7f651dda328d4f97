"""draft: a small model that guesses what a larger one will say, for engines that decode speculatively."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import statistics
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.recipes.adopt import adopted
from ayllu.recipes.stages import pretrain as stages

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus
    from ayllu.data.tokens.pack import Tokens
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

SOURCE = "everyday-english"
LENGTH = 256
"""Ids in a row."""
BATCH = 4
"""Rows in a step."""
TRAINING = 0.75
"""Share of the budget that is training; the rest is data and measuring."""
RATE = 3e-3
"""Peak rate of Muon."""
ANSWER = 64
"""Most ids of an answer that is guessed at."""
PROPOSED = 4
"""Tokens that the draft proposes at a time, where the card speaks of passes."""


def draft(
    *,
    budget: float = 10.0,
    seed: int = 0,
    teacher: str = "smollm2",
    layers: int = 4,
    items: int = 64,
    steps: int | None = None,
    name: str = "draft",
) -> Any:
    """Make a small draft of a model for speculative decoding: some of its layers, taught its distribution.

    Parameters
    ----------
    budget
        Minutes in all, most of it training.
    seed
        Draws the order of the data.
    teacher
        The model to guess, as `ayllu adopt` takes it.
    layers
        How many of its layers the draft keeps, evenly spread.
    items
        Held-out questions whose answers are guessed.
    steps
        Steps of training instead of what the budget buys. With the same number a run can be repeated exactly.
    name
        Name of the release, and of the channel that points to it.
    """
    if not 0 < budget <= 60 * 24 * 365:
        raise UserError(f"the budget is {budget:g} minutes; give a number above 0, such as --budget 10")
    for label, value in (("layers", layers), ("items", items), ("steps", steps)):
        if value is not None and value < 1:
            raise UserError(f"{label} is {value}; give at least 1")
    return distil(adopted(teacher), budget=budget, seed=seed, layers=layers, items=items, steps=steps, name=name)


def distil(start: Any, *, budget: float, seed: int, layers: int, items: int, steps: int | None, name: str) -> Any:
    """The recipe from an adopted model on."""
    text = stages.corpus(sources=(SOURCE,), licence=None)
    chats = stages.dialogues(seed=seed)
    tokenizer = its_tokenizer(start)
    tokens = stages.tokenize_chat(chats, text, tokenizer, length=LENGTH)
    plan = plan_draft(start, tokens, budget=budget, seed=seed, layers=layers, steps=steps)
    small = learn(start, tokens, tokenizer, plan, seed=seed)
    guessed = guess(start, small, chats, plan, items=items)
    return release_draft(start, small, text, chats, guessed, plan, name=name, version="1.0.0", policy="open")


@dataclass(frozen=True, kw_only=True)
class DraftPlan:
    """How many steps, and how long they should take."""

    layers: int
    steps: int
    seconds_per_step: float
    """Measured here before the run; 0 where the steps were given."""
    precision: str


def open_draft_plan(folder: Path) -> DraftPlan:
    return DraftPlan(**json.loads((folder / "plan.json").read_text()))


@stage(makes=stages.open_tokenizer)
def its_tokenizer(ctx: Context, model: Path) -> None:
    """The tokenizer of a model."""
    from ayllu.text.tokenizer import Tokenizer

    Tokenizer.load(model).save(ctx.folder)


@stage(makes=open_draft_plan)
def plan_draft(
    ctx: Context, teacher: Path, tokens: Tokens, *, budget: float, seed: int, layers: int, steps: int | None
) -> None:
    """Steps for `budget` minutes on this machine: a few are timed."""
    import torch

    from ayllu.data.tokens.loader import Loader
    from ayllu.model.files import hf
    from ayllu.train.machine import bf16_pays
    from ayllu.train.objectives.distill import distillation_loss

    precision, seconds = "bf16" if bf16_pays() else "float32", 0.0
    wise = hf.load(teacher)
    if layers > wise.config.layers:
        raise UserError(f"layers is {layers}; the teacher has {wise.config.layers}")
    if steps is None:
        student, loader = _pruned(wise, layers), Loader(tokens, seed=seed)
        objective, times = distillation_loss(wise), []
        for step in range(4):
            began = time.monotonic()
            batch = loader.batch(step * BATCH, BATCH)
            dtype = {"bf16": torch.bfloat16, "float32": torch.float32}[precision]
            (objective(student, batch, dtype) / batch.count).backward()
            student.zero_grad(set_to_none=True)
            times.append(time.monotonic() - began)
        seconds = statistics.median(times[1:])
        steps = max(round(60 * budget * TRAINING / seconds), 20)
    plan = DraftPlan(layers=layers, steps=steps, seconds_per_step=round(seconds, 3), precision=precision)
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


def _pruned(wise: Transformer, layers: int) -> Transformer:
    """Evenly spread layers of a model, first and last among them; embeddings are its own, and are not trained.

    Starting from the teacher's layers instead of random ones follows DistilBERT (arXiv:1910.01108, section 3).
    """
    last = wise.config.layers - 1
    kept = [round(i * last / max(layers - 1, 1)) for i in range(layers)]
    student = copy.deepcopy(wise)
    student.blocks = type(student.blocks)(student.blocks[number] for number in kept)
    student.config = dataclasses.replace(wise.config, layers=layers)
    student.requires_grad_(True)
    for shared in (student.embedding, student.output):
        shared.requires_grad_(False)
    return student


@stage()
def learn(ctx: Context, teacher: Path, tokens: Tokens, tokenizer: Tokenizer, plan: DraftPlan, *, seed: int) -> None:
    """The weights of the draft."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.model.files import hf
    from ayllu.train.loop import TrainConfig, train, write_losses
    from ayllu.train.objectives.distill import distillation_loss
    from ayllu.train.optimizer import OptimizerConfig

    ctx.predict("seconds", round(plan.steps * plan.seconds_per_step, 1))
    wise = hf.load(teacher)
    config = TrainConfig(
        steps=plan.steps,
        batch=BATCH,
        warmup=max(min(plan.steps // 10, 20), 1),
        optimizer=OptimizerConfig(muon_lr=RATE),
        precision=plan.precision,
        checkpoint_seconds=60.0,
    )
    student = _pruned(wise, plan.layers)
    result = train(
        student,
        Loader(tokens, seed=seed),
        config,
        objective=distillation_loss(wise.requires_grad_(False)),
        scratch=ctx.scratch,
        title="distil",
    )
    hf.save(ctx.folder, result.model.requires_grad_(True), bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(ctx.folder)
    write_losses(ctx.folder / "losses.jsonl", result.losses)
    last = result.losses[-min(20, len(result.losses)) :]
    ctx.note("seconds", round(result.seconds, 1))
    ctx.note("steps", plan.steps)
    ctx.note("loss", math.fsum(last) / len(last))
    ctx.note("parameters", result.model.config.parameters)


@stage()
def guess(ctx: Context, teacher: Path, small: Path, chats: Dialogues, plan: DraftPlan, *, items: int) -> None:
    """How many tokens of the teacher's answers to held-out questions the draft foresees, taught and untaught."""
    import torch

    from ayllu.evals.skills.acceptance import measure_acceptance, tokens_per_pass
    from ayllu.evals.statistics import ratio_interval
    from ayllu.model.files import hf
    from ayllu.model.sample import in_type, sample
    from ayllu.text.chat import Message, render
    from ayllu.text.tokenizer import Tokenizer

    tokenizer, wise = Tokenizer.load(teacher), hf.load(teacher)
    dtype = {"bf16": torch.bfloat16, "float32": torch.float32}[plan.precision]
    asked = [dialogue["messages"][0] for dialogue in islice(chats.dialogues("heldout"), items)]
    prompts = [render([Message(role=turn["role"], content=turn["content"])], tokenizer) for turn in asked]
    drawn = sample(
        in_type(wise, dtype), prompts, tokens=ANSWER, stop=tokenizer.stops, seeds=[[n] for n in range(len(prompts))]
    )
    answers = [(prompt, answer.ids) for prompt, (answer,) in zip(prompts, drawn, strict=True)]
    table = {}
    for label, student in (("untaught", _pruned(wise, plan.layers)), ("taught", hf.load(small))):
        found = measure_acceptance(wise, student, answers, dtype=dtype)
        counts = [row.tokens for row in found]
        rate = ratio_interval([row.accepted for row in found], counts)
        table[label] = {
            "accepted": rate.as_json(),
            "greedy": ratio_interval([row.greedy for row in found], counts).as_json(),
            "tokens_per_pass": tokens_per_pass(rate.value, PROPOSED),
        }
    table["answers"] = {"count": len(answers), "tokens": sum(len(answer) for _, answer in answers)}
    table["parameters"] = {"teacher": wise.config.parameters, "draft": hf.load_config(small).parameters}
    (ctx.folder / "guesses.json").write_text(json.dumps(table, indent=2) + "\n")
    ctx.note("guesses", table)


@stage(makes=lambda folder: folder / "release")
def release_draft(
    ctx: Context,
    teacher: Path,
    small: Path,
    text: Corpus,
    chats: Dialogues,
    guessed: Path,
    plan: DraftPlan,
    *,
    name: str,
    version: str,
    policy: str,
) -> None:
    """A signed folder that stands alone."""
    from ayllu.data.origin import read_origin
    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.score import Scores
    from ayllu.lab.store import read_manifest
    from ayllu.model.files import hf
    from ayllu.release.build import build_release
    from ayllu.release.policy import find_policy
    from ayllu.text.tokenizer import Tokenizer

    origin, told = read_origin(teacher), read_manifest(small)
    table = json.loads((guessed / "guesses.json").read_text())
    heldout = [(document.source, document.text) for document in islice(text.documents("heldout"), 100)]
    bits = document_bits(hf.load(small).eval(), Tokenizer.load(small), heldout, total=len(heldout))
    Scores().with_documents(bits).save(ctx.scratch)
    accepted = table["taught"]["accepted"]
    records = {
        "description": (
            f"A draft of {origin.title} for speculative decoding: {plan.layers} of its layers, taught its distribution "
            f"with Ayllu's recipe draft. Of its tokens {100 * accepted['value']:.0f} % are accepted "
            f"({100 * accepted['low']:.0f} to {100 * accepted['high']:.0f}), so with {PROPOSED} proposed at a time "
            f"one pass of the large model yields {table['taught']['tokens_per_pass']:.1f} tokens."
        ),
        "predicted": {"seconds": round(plan.steps * plan.seconds_per_step, 1)},
        "measured": {"seconds": told["record"]["seconds"]},
        "distillation": {field: told["record"][field] for field in ("steps", "seconds", "loss")},
        "guesses": table,
        "machine": told["machine"],
    }
    summary = build_release(
        ctx.folder / "release",
        weights=small,
        scores=ctx.scratch,
        sources=[
            {"name": origin.title, "title": origin.source, "licence": origin.licence},
            *(source for source in text.sources if source.get("documents")),
        ],
        dialogues=chats.sources,
        records=records,
        name=name,
        version=version,
        policy=find_policy(policy),
    )
    for field, value in records.items():
        ctx.note(field, value)
    ctx.note("gates", list(summary.gates))
