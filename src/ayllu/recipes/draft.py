"""draft: a small model that guesses what a large one will say, for engines that decode speculatively."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.adopt import adopted
from ayllu.recipes.limits import check_budget, check_seed, tell_time
from ayllu.recipes.stages.artifacts import Acceptance, Release, Weights
from ayllu.recipes.stages.corpus import corpus, dialogues, tokenize_chat, tokenizer_of, used_sources
from ayllu.recipes.stages.methods import TIMED, Distill, Setting
from ayllu.recipes.stages.release import Contents, previous_argument, release_stage
from ayllu.recipes.stages.weights import note_training

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus
    from ayllu.data.tokens.pack import Tokens
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

SOURCE = "everyday-english"
LENGTH = 256
"""Ids in a row."""
TRAINING = 0.75
"""Share of the budget that is training; the rest is data and measuring."""
LR = 3e-3
"""Peak learning rate of Muon."""
ANSWER = 64
"""Most ids of an answer that is guessed at."""
SHARED = ("embedding", "output")
"""What a draft has of its teacher and does not learn."""
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
    previous: Path | None = None,
    name: str = "draft",
) -> Handle[Release]:
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
    previous
        The release before, by its name or folder: what changed since stands in the new one, with scores paired by
        item.
    name
        Name of the release, and of the channel that points to it.
    """
    check_budget(budget, usual=10)
    check_seed(seed)
    for label, value in (("layers", layers), ("items", items), ("steps", steps)):
        if value is not None and value < 1:
            raise UserError(f"{label} is {value}; give at least 1")
    since = previous_argument(previous)
    start = adopted(teacher)
    return from_teacher(
        start, budget=budget, seed=seed, layers=layers, items=items, steps=steps, name=name, previous=since
    )


def from_teacher(
    start: Handle[Weights],
    *,
    budget: float,
    seed: int,
    layers: int,
    items: int,
    steps: int | None,
    name: str,
    previous: str | None = None,
    source: str = SOURCE,
) -> Handle[Release]:
    """The recipe from an adopted model on; `source` is the text that is learnt beside conversations."""
    text = corpus(sources=(source,), licence=None)
    chats = dialogues(seed=seed)
    tokenizer = tokenizer_of(start)
    tokens = tokenize_chat(chats, text, tokenizer, length=LENGTH)
    plan = plan_draft(start, tokens, budget=budget, seed=seed, layers=layers, steps=steps)
    student = distill(start, tokens, tokenizer, plan, seed=seed)
    acceptance = measure_acceptance(start, student, chats, plan, items=items)
    return release_draft(
        start, student, text, chats, acceptance, plan, name=name, version="1.0.0", policy="open", previous=previous
    )


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


@stage(identity="plan_draft", makes=open_draft_plan)
def plan_draft(
    ctx: Context,
    teacher: Handle[Weights],
    tokens: Handle[Tokens],
    *,
    budget: float,
    seed: int,
    layers: int,
    steps: int | None,
) -> None:
    """Steps for `budget` minutes on this machine: a few are timed."""
    from ayllu.model.files.hf_config import load_config
    from ayllu.train.machine import fastest_precision

    precision, seconds = fastest_precision(), 0.0
    there = load_config(teacher.value).layers
    if layers > there:
        raise UserError(f"layers is {layers}; the teacher has {there}")
    if steps is None:
        method = Distill()
        setting = _setting(ctx, teacher, tokens, layers=layers, precision=precision, seed=seed, steps=1 + TIMED)
        seconds = method.seconds_per_step(setting)
        asked = 60 * budget * TRAINING
        steps = max(round(asked / seconds), method.least_steps)
        fewest = f"{method.least_steps} steps are the fewest"
        tell_time(ctx, asked=asked, expected=steps * seconds, fewest=fewest)
    plan = DraftPlan(layers=layers, steps=steps, seconds_per_step=round(seconds, 3), precision=precision)
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


def _setting(
    ctx: Context,
    teacher: Handle[Weights],
    tokens: Handle[Tokens],
    *,
    layers: int,
    precision: str,
    seed: int,
    steps: int,
) -> Setting:
    """The student in place of the model, and the teacher as what was adopted."""
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    return Setting(
        model=_pruned(hf.load(teacher.value), layers),
        tokenizer=Tokenizer.load(teacher.value),
        dataset=tokens.value,
        adopted=teacher.value,
        precision=precision,
        seed=seed,
        steps=steps,
        cache=ctx.cache,
        scratch=ctx.scratch,
    )


def _pruned(teacher: Transformer, layers: int) -> Transformer:
    """Evenly spread layers of a model, first and last among them; embeddings are its own, and are not trained.

    Starting from the teacher's layers instead of random ones follows DistilBERT (arXiv:1910.01108, section 3).
    """
    last = teacher.config.layers - 1
    kept = [round(i * last / max(layers - 1, 1)) for i in range(layers)]
    student = copy.deepcopy(teacher)
    student.blocks = type(student.blocks)(student.blocks[number] for number in kept)
    student.config = dataclasses.replace(teacher.config, layers=layers)
    student.requires_grad_(True)
    for shared in SHARED:
        student.get_submodule(shared).requires_grad_(False)
    return student


@stage(identity="learn", makes=Weights)
def distill(
    ctx: Context,
    teacher: Handle[Weights],
    tokens: Handle[Tokens],
    tokenizer: Handle[Tokenizer],
    plan: Handle[DraftPlan],
    *,
    seed: int,
) -> None:
    """The weights of the draft."""
    from ayllu.model.files import hf
    from ayllu.recipes.stages.proof import kept_in, note_stretch
    from ayllu.train.loop import train

    planned, vocabulary, method = plan.value, tokenizer.value, Distill()
    ctx.predict("seconds", round(planned.steps * planned.seconds_per_step, 1))
    setting = _setting(
        ctx,
        teacher,
        tokens,
        layers=planned.layers,
        precision=planned.precision,
        seed=seed,
        steps=planned.steps,
    )
    config = method.config(steps=planned.steps, lr=LR, precision=planned.precision)
    objective = method.objective(setting)
    source = method.source(setting)
    result = train(
        setting.model,
        source,
        config,
        objective=objective,
        scratch=ctx.scratch,
        title="distil",
        stretch=kept_in(ctx),
    )
    note_stretch(ctx, result, {**method.told(), "frozen": list(SHARED)})
    hf.save(ctx.folder, result.model.requires_grad_(True), bos=vocabulary.bos, stops=sorted(vocabulary.stops))
    vocabulary.save(ctx.folder)
    note_training(ctx, result.losses, seconds=result.seconds, steps=planned.steps)
    ctx.note("parameters", result.model.config.parameters)
    for name, value in (("rate", config.optimizer.muon_lr), ("batch", config.batch), ("length", source.length)):
        ctx.note(name, value)


@stage(identity="guess", makes=Acceptance, names_in_key={"student": "small"})
def measure_acceptance(
    ctx: Context,
    teacher: Handle[Weights],
    student: Handle[Weights],
    chats: Handle[Dialogues],
    plan: Handle[DraftPlan],
    *,
    items: int,
) -> None:
    """How many tokens of the teacher's answers to held-out questions the draft foresees, taught and untaught."""
    from ayllu.evals.skills.acceptance import draft_acceptance, tokens_per_pass
    from ayllu.evals.statistics import ratio_interval
    from ayllu.model.files import hf
    from ayllu.model.files.hf_config import load_config
    from ayllu.model.sample import in_type, sample
    from ayllu.text.chat import Message, render
    from ayllu.text.template import FIXED_DAY
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.machine import dtype_of

    large, tokenizer = hf.load(teacher.value), Tokenizer.load(teacher.value)
    dtype = dtype_of(plan.value.precision)
    asked = [dialogue["messages"][0] for dialogue in islice(chats.value.dialogues("heldout"), items)]
    said = [[Message(role=turn["role"], content=turn["content"])] for turn in asked]
    prompts = [render(messages, tokenizer, now=FIXED_DAY) for messages in said]
    seeds = [[number] for number in range(len(prompts))]
    drawn = sample(in_type(large, dtype), prompts, tokens=ANSWER, stop=tokenizer.stops, seeds=seeds)
    answers = [(prompt, answer.ids) for prompt, (answer,) in zip(prompts, drawn, strict=True)]
    table: dict[str, Any] = {}
    for label, small in (("untaught", _pruned(large, plan.value.layers)), ("taught", hf.load(student.value))):
        found = draft_acceptance(large, small, answers, dtype=dtype)
        counts = [row.tokens for row in found]
        accepted = ratio_interval([row.accepted for row in found], counts)
        table[label] = {
            "accepted": accepted.as_json(),
            "greedy": ratio_interval([row.greedy for row in found], counts).as_json(),
            "tokens_per_pass": tokens_per_pass(accepted.value, PROPOSED),
        }
    table["answers"] = {"count": len(answers), "tokens": sum(len(answer) for _, answer in answers)}
    table["parameters"] = {
        "teacher": large.config.parameters,
        "draft": load_config(student.value).parameters,
    }
    (ctx.folder / "guesses.json").write_text(json.dumps(table, indent=2) + "\n")
    ctx.note("guesses", table)


@release_stage(
    identity="release_draft", names_in_key={"student": "small", "acceptance": "guessed"}, added={"previous": None}
)
def release_draft(
    ctx: Context,
    teacher: Handle[Weights],
    student: Handle[Weights],
    text: Handle[Corpus],
    chats: Handle[Dialogues],
    acceptance: Handle[Acceptance],
    plan: Handle[DraftPlan],
    *,
    name: str,
    version: str,
    policy: str,
    previous: str | None = None,
) -> Contents:
    """The draft, with the share of its guesses that the large model accepts."""
    from ayllu.data.origin import read_origin
    from ayllu.evals.likelihood.heldout import document_bits
    from ayllu.evals.score import Scores
    from ayllu.model.files import hf
    from ayllu.recipes.stages.proof import origins, training
    from ayllu.release.proof.make import Evidence
    from ayllu.text.tokenizer import Tokenizer

    origin, told, planned = read_origin(teacher.value), student.artifact.manifest, plan.value
    table = json.loads((acceptance.value / "guesses.json").read_text())
    heldout = [(document.source, document.text) for document in islice(text.value.documents("heldout"), 100)]
    weights = hf.load(student.value).eval()
    bits = document_bits(weights, Tokenizer.load(student.value), heldout, total=len(heldout))
    Scores().with_documents(bits).save(ctx.scratch)
    accepted = table["taught"]["accepted"]
    return Contents(
        name=name,
        version=version,
        policy=policy,
        weights=student.value,
        scores=ctx.scratch,
        sources=[
            {"name": origin.title, "title": origin.source, "licence": origin.licence},
            *used_sources(text.value),
        ],
        dialogues=chats.value.sources,
        records={
            "description": (
                f"A draft of {origin.title} for speculative decoding: {planned.layers} of its layers, taught its "
                f"distribution with Ayllu's recipe draft. Of its tokens {100 * accepted['value']:.0f} % are accepted "
                f"({100 * accepted['low']:.0f} to {100 * accepted['high']:.0f}), so with {PROPOSED} proposed at a time "
                f"one pass of the large model yields {table['taught']['tokens_per_pass']:.1f} tokens."
            ),
            "predicted": {"seconds": round(planned.steps * planned.seconds_per_step, 1)},
            "measured": {"seconds": told["record"]["seconds"]},
            "distillation": {field: told["record"][field] for field in ("steps", "seconds", "loss")},
            "guesses": table,
            "machine": told["machine"],
        },
        previous=previous,
        evidence=Evidence(trainings=[training("distill", student, reference=teacher, kept=1.0)], origins=origins(text)),
    )
