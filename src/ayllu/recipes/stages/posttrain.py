"""The stages of post-training: what an adopted model is taught, in which order, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, stage

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations

LENGTH = 512
"""Ids in a row of several conversations."""
LONGEST = 1024
"""Most ids of one conversation."""
GROUP = 6
"""Requests that share the definitions of their tools, and so one row."""
SHARES = {"grpo": 0.18, "sft": 0.74, "dpo": 0.08}
"""How the minutes of training are divided, in the order in which they pass."""
TRAINING = 0.6
"""Share of the budget that is training; the rest is measuring."""
REHEARSED = 0.1
"""Share of the conversations of SFT that are what the model itself answered right after GRPO: without them SFT, which
is about other things, would make it forget."""
SIZES = {"sft": 4, "dpo": 8, "grpo": 8}
"""Groups of conversations, pairs, and prompts in a step."""
PLAIN_LENGTH = 128
"""Ids in a row of plain text, on which GRPO and SFT must not diverge from the adopted model."""
PLAIN_ROWS = 2
"""Such rows in a step."""
PLAIN_WEIGHT = 1.0
"""What the divergence per id of plain text counts beside the loss per predicted id."""
KEPT = 0.5
"""Share of what was learnt that the final model keeps: see `soften`."""
CHECKPOINT_SECONDS = 15.0
"""Between checkpoints, which hold the companions alone."""
TIMED, USUAL = 3, 32
"""Steps of each kind that are timed before the run; batches over which the length of a step is averaged."""
LEAST = {"sft": 8, "dpo": 4, "grpo": 4}
FAMILY = "chain_sum"
SETTINGS = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}
"""Sums and differences of two or three digits."""
HELD_OUT = 300
"""Items of the family that are kept for measuring."""
DRAWN_TOGETHER = 64
"""Answers drawn at a time for the rehearsal."""
ANSWER_IDS = 16
"""Most ids of an answer that GRPO draws: enough for a short equation and its end, not for talk."""
NAME = "Smol"


@dataclass(frozen=True, kw_only=True)
class PostPlan:
    """How many steps of each kind, and how long they should take."""

    steps: dict[str, int]
    seconds_per_step: dict[str, float]
    """Measured here before the run; 0 where the steps were given."""
    precision: str

    @property
    def seconds(self) -> float:
        return sum(self.steps[name] * self.seconds_per_step[name] for name in self.steps)


def open_post_plan(folder: Path) -> PostPlan:
    return PostPlan(**json.loads((folder / "plan.json").read_text()))


@stage()
def lessons(ctx: Context, base: Path, *, seed: int, groups: int, chats: str | None, preferences: str | None) -> None:
    """What to learn, groups of conversations and pairs of a better and a worse answer, and plain text to hold on to."""
    from ayllu.data.conversations.chats import kept
    from ayllu.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(base)
    chance = random.Random(seed)
    with (ctx.folder / "conversations.jsonl").open("w") as file:
        count = 0
        for conversations in _conversations(tokenizer, chance, groups, kept(chats, ctx.cache) if chats else None):
            file.write(json.dumps(dataclasses.asdict(conversations)) + "\n")
            count += 1
    with (ctx.folder / "pairs.jsonl").open("w") as file:
        own = _own_pairs(kept(preferences, ctx.cache), tokenizer) if preferences else []
        for number, pair in enumerate(_pairs(tokenizer, chance, groups)):
            if own:
                file.write(json.dumps(own[number % len(own)]) + "\n")
            file.write(json.dumps(pair) + "\n")
    (ctx.folder / "plain.json").write_text(json.dumps(list(islice(_plain(tokenizer, ctx.cache), groups))) + "\n")
    ctx.note("conversations", count)


def _plain(tokenizer: Tokenizer, cache: Path) -> Iterator[list[int]]:
    """Rows of plain text: beginnings of Wikipedia passages, which none of the benchmarks measured here draws on."""
    from ayllu.data.sources.reference import read_boolq

    for document in read_boolq(cache):
        ids = tokenizer.encode(document.text)[:PLAIN_LENGTH]
        if len(ids) == PLAIN_LENGTH:
            yield ids


def _conversations(
    tokenizer: Tokenizer, chance: random.Random, groups: int, chats: Path | None
) -> Iterator[Conversations]:
    """Six of seven groups are tool calls, the others manners; and half as many conversations of your own."""
    from ayllu.data.conversations.chats import read_chats
    from ayllu.data.conversations.smalltalk import exchanges
    from ayllu.data.conversations.tool_requests import group
    from ayllu.text.chat import Message, render_masked
    from ayllu.train.objectives.sft import together

    def spoken(turns: Sequence[str]) -> list[Message]:
        return [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(turns)]

    talk = list(exchanges(NAME))
    for _ in range(groups):
        kind = chance.random()
        if kind < 0.86:
            asked = group("train", GROUP, chance)
            made = [
                [Message(role="user", content=r.text), Message(role="assistant", tool_calls=r.calls)] for r in asked
            ]
            rendered = [render_masked(messages, tokenizer, tools=asked[0].tools) for messages in made]
        else:
            rendered = [render_masked(spoken(chance.choice(talk).turns), tokenizer) for _ in range(2 * GROUP)]
        yield together(rendered)
    if chats is not None:
        own = read_chats(chats, longest=LONGEST, length=_length(tokenizer))
        chance.shuffle(own)
        for number in range(groups // 2):
            yield together([render_masked(own[number % len(own)], tokenizer)])


def _length(tokenizer: Tokenizer) -> Callable[[list[Message]], int]:
    from ayllu.text.chat import render

    return lambda messages: len(render(messages, tokenizer, reply=False))


def _own_pairs(path: Path, tokenizer: Tokenizer) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt and both answers of each line of the user's preferences. Raises UserError that names bad lines."""
    from ayllu.data.conversations.chats import read_preferences
    from ayllu.text.chat import Message

    found = []
    for given in read_preferences(path, longest=LONGEST, length=_length(tokenizer)):
        good, bad = (Message(role="assistant", content=side) for side in (given.chosen, given.rejected))
        found.append(_pair(given.prompt, good, bad, tokenizer))
    return found


def _pair(
    asked: Sequence[Message], good: Message, bad: Message, tokenizer: Tokenizer, tools: Any = ()
) -> tuple[list[int], list[int], list[int]]:
    """The ids up to the answer, and those that the assistant produces to say either."""
    from ayllu.text.chat import render, render_masked

    def produced(messages: Sequence[Message]) -> list[int]:
        ids, predict = render_masked(messages, tokenizer, tools=tools)
        return [i for i, p in zip(ids, predict, strict=True) if p]

    before = len(produced(asked)) if any(message.role == "assistant" for message in asked) else 0
    right, wrong = (produced([*asked, answer])[before:] for answer in (good, bad))
    return render(asked, tokenizer, tools=tools), right, wrong


def _pairs(tokenizer: Tokenizer, chance: random.Random, count: int) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Right calls against calls with one mistake, and fitting answers against answers to something else."""
    from ayllu.data.conversations.smalltalk import exchanges
    from ayllu.data.conversations.tool_requests import requests, wrong_call
    from ayllu.text.chat import Message

    talk = [exchange for exchange in exchanges(NAME) if len(exchange.turns) >= 2]
    for request in requests("train", count, seed=chance.randrange(1 << 30)):
        if chance.random() < 0.8:
            asked = [Message(role="user", content=request.text)]
            good = Message(role="assistant", tool_calls=request.calls)
            bad = Message(role="assistant", tool_calls=wrong_call(request, chance))
            yield _pair(asked, good, bad, tokenizer, request.tools)
        else:
            one, other = chance.sample(talk, 2)
            if one.topic == other.topic:
                continue
            asked = [Message(role="user", content=one.turns[0])]
            good, bad = (Message(role="assistant", content=turns[1]) for turns in (one.turns, other.turns))
            yield _pair(asked, good, bad, tokenizer)


def read_conversations(folder: Path) -> list[Conversations]:
    """What `lessons` wrote."""
    from ayllu.train.objectives.sft import Conversations

    return [Conversations(**json.loads(line)) for line in (folder / "conversations.jsonl").read_text().splitlines()]


def read_pairs(folder: Path) -> list[tuple[list[int], list[int], list[int]]]:
    """What `lessons` wrote."""
    return [tuple(json.loads(line)) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def read_plain(folder: Path) -> list[list[int]]:
    """What `lessons` wrote."""
    rows: list[list[int]] = json.loads((folder / "plain.json").read_text())
    return rows


@stage(rev=2)
def rehearsal(ctx: Context, model: Path, plan: PostPlan, *, seed: int) -> None:
    """Answers of `model` to training questions that the checker accepts, as groups of conversations: what SFT mixes in.

    Rejection sampling, section 4.2.2 of The Llama 3 Herd of Models (arXiv:2407.21783): the model learns from its own
    right answers, so nothing here tells it what it did not know.
    """
    from ayllu.data.conversations.reasoning import Family, questions
    from ayllu.lab.progress import bar
    from ayllu.model.sample import in_type, sample
    from ayllu.train.objectives.grpo import hash_seed
    from ayllu.train.objectives.rewards import ReasoningTasks
    from ayllu.train.objectives.sft import together

    weights, tokenizer = _load(model)
    weights = in_type(weights, _dtype(plan.precision))
    family = Family(FAMILY, ctx.cache, SETTINGS)
    # Seeds that GRPO does not reach, so that the questions are mostly new ones.
    tasks = ReasoningTasks(family, tokenizer, held_out=questions(family, HELD_OUT, held_out=True), seed=seed + 20)
    kept: list[tuple[list[int], list[bool]]] = []
    wanted = max(round(REHEARSED * plan.steps["sft"] * SIZES["sft"]), 1) * GROUP
    with bar("rehearsal", total=wanted, unit="answers") as progress:
        for first in range(0, 20 * wanted, DRAWN_TOGETHER):
            numbers = range(first, first + DRAWN_TOGETHER)
            prompts = [tasks.prompt(number) for number in numbers]
            seeds = [[hash_seed(seed, number, 0)] for number in numbers]
            drawn = sample(weights, prompts, tokens=ANSWER_IDS, stop=tokenizer.stops, seeds=seeds)
            right = [
                ([*prompt, *answer.ids], [False] * len(prompt) + [True] * len(answer.ids))
                for number, prompt, (answer,) in zip(numbers, prompts, drawn, strict=True)
                if answer.ids and answer.ids[-1] in tokenizer.stops and tasks.reward(number, answer).correct
            ]
            kept.extend(right)
            progress.advance(len(right))
            if len(kept) >= wanted:
                break
    with (ctx.folder / "conversations.jsonl").open("w") as file:
        for at in range(0, len(kept), GROUP):
            file.write(json.dumps(dataclasses.asdict(together(kept[at : at + GROUP]))) + "\n")
    ctx.note("answers", len(kept))


@stage(makes=open_post_plan, rev=2)
def plan_post(
    ctx: Context, base: Path, learnt: Path, *, budget: float, seed: int, steps: tuple[int, int, int] | None, items: int
) -> None:
    """Steps of each kind for `budget` minutes on this machine: a few of each are timed."""
    from ayllu.train.budget import bf16_pays

    precision = "bf16" if bf16_pays() else "float32"
    names = tuple(SHARES)
    if steps is not None:
        plan = PostPlan(
            steps=dict(zip(names, steps, strict=True)), seconds_per_step=dict.fromkeys(names, 0.0), precision=precision
        )
    else:
        each = {name: _time(name, base, learnt, precision, seed, ctx) for name in names}
        bought = {name: 60 * budget * TRAINING * SHARES[name] / each[name] for name in names}
        plan = PostPlan(
            steps={name: max(round(bought[name]), LEAST[name]) for name in names},
            seconds_per_step={name: round(seconds, 3) for name, seconds in each.items()},
            precision=precision,
        )
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


def _time(name: str, base: Path, learnt: Path, precision: str, seed: int, ctx: Context) -> float:
    """Seconds of a step of one kind with as many ids as its steps have on average: the median of some after one."""
    from ayllu.train.lora import LoraConfig, attach

    model, tokenizer = _load(base)
    size = SIZES[name]
    began = time.monotonic()
    source, objective = _lesson(
        name, model, tokenizer, learnt, precision, seed, ctx, steps=1 + TIMED, before=base, journal="trial.jsonl"
    )
    # The reference of DPO passes over the pairs before the first step.
    prepared = (time.monotonic() - began) / (1 + TIMED) if name == "dpo" else 0.0
    attach(model, LoraConfig())
    rates, ids = [], []
    for step in range(1 + TIMED):
        began = time.monotonic()
        batch = source.batch(step * size, size)
        (objective(model, batch, _dtype(precision)) / batch.count).backward()
        model.zero_grad(set_to_none=True)
        ids.append(batch.ids)
        rates.append((time.monotonic() - began) / batch.ids)
    if name == "sft":  # Of the other two a batch takes the model to make.
        ids = [source.batch(step * size, size).ids for step in range(USUAL)]
    return prepared + statistics.median(rates[1:]) * statistics.mean(ids)


def _dtype(precision: str) -> torch.dtype:
    import torch

    return {"bf16": torch.bfloat16, "float32": torch.float32}[precision]


def _load(folder: Path) -> tuple[Transformer, Tokenizer]:
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    return hf.load(folder), Tokenizer.load(folder)


def _lesson(
    name: str,
    model: Transformer,
    tokenizer: Tokenizer,
    learnt: Path,
    precision: str,
    seed: int,
    ctx: Context,
    *,
    steps: int,
    before: Path,
    rehearsed: Path | None = None,
    journal: str = "rewards.jsonl",
) -> tuple[Any, Any]:
    """The source and the objective of one kind of training; GRPO and SFT hold on to the model `before` everything."""
    from ayllu.train.objectives import dpo as preference
    from ayllu.train.objectives import grpo as policy
    from ayllu.train.objectives import kl_anchor as anchor
    from ayllu.train.objectives import sft as supervised

    def anchored(lesson: Any, objective: Any) -> tuple[Any, Any]:
        adopted, _ = _load(before)
        return (
            anchor.AnchoredSource(lesson, read_plain(learnt), rows=PLAIN_ROWS, seed=seed),
            anchor.anchored_loss(objective, adopted, weight=PLAIN_WEIGHT),
        )

    if name == "sft":
        conversations = read_conversations(learnt) + (read_conversations(rehearsed) if rehearsed else [])
        lesson = supervised.ConversationSource(conversations, length=LENGTH, seed=seed)
        return anchored(lesson, supervised.conversation_loss)
    if name == "dpo":
        # Only the pairs that the steps will see: each costs a forward pass of the reference.
        pairs = read_pairs(learnt)[: steps * SIZES["dpo"]]
        known = preference.reference_log_probabilities(model, pairs, length=LENGTH, dtype=_dtype(precision))
        config = preference.PreferenceConfig(beta=0.1, likelihood=0.2)
        return (
            preference.PairSource(pairs, known, length=LENGTH, seed=seed),
            preference.preference_loss(config),
        )
    from ayllu.data.conversations.reasoning import Family, questions
    from ayllu.train.objectives.rewards import ReasoningTasks

    family = Family(FAMILY, ctx.cache, SETTINGS)
    held = questions(family, HELD_OUT, held_out=True)
    settings = policy.PolicyConfig(group=8, tokens=ANSWER_IDS)
    source = policy.RolloutSource(
        model,
        ReasoningTasks(family, tokenizer, held_out=held, seed=seed),
        settings,
        length=LENGTH // 2,
        stop=tokenizer.stops,
        seed=seed,
        dtype=_dtype(precision),
        journal=ctx.scratch / journal,
    )
    return anchored(source, policy.policy_loss(settings))


@stage(rev=2)
def teach(
    ctx: Context,
    model: Path,
    learnt: Path,
    plan: PostPlan,
    *,
    kind: str,
    seed: int,
    rate: float,
    rank: int,
    before: Path,
    rehearsed: Path | None = None,
) -> None:
    """The weights after one kind of training with LoRA, merged; `before` is the model that was adopted."""
    from ayllu.train.loop import TrainConfig, train, write_losses
    from ayllu.train.lora import LoraConfig, attach, detach
    from ayllu.train.optimizer import OptimizerConfig

    weights, tokenizer = _load(model)
    steps = plan.steps[kind]
    source, objective = _lesson(
        kind, weights, tokenizer, learnt, plan.precision, seed, ctx, steps=steps, before=before, rehearsed=rehearsed
    )
    # The source of rollouts draws from these weights, so they get their companions in place.
    attach(weights, LoraConfig(rank=rank, alpha=2.0 * rank), seed=seed)
    ctx.predict("seconds", round(steps * plan.seconds_per_step[kind], 1))
    config = TrainConfig(
        steps=steps,
        batch=SIZES[kind],
        warmup=max(min(steps // 10, 5), 1),
        # Muon on the companions: they are thin, so that making them orthogonal costs next to nothing.
        optimizer=OptimizerConfig(muon_lr=rate, weight_decay=0.0),
        precision=plan.precision,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    result = train(weights, source, config, objective=objective, scratch=ctx.scratch, title=kind)
    _keep_model(ctx, detach(weights, merge=True), tokenizer, model)
    write_losses(ctx.folder / "losses.jsonl", result.losses)
    if kind == "grpo":
        journal = ctx.scratch / "rewards.jsonl"
        (ctx.folder / "rewards.jsonl").write_bytes(journal.read_bytes())
    last = result.losses[-min(20, len(result.losses)) :]
    ctx.note("seconds", round(result.seconds, 1))
    ctx.note("waited_for_checkpoints", round(result.waited, 2))
    ctx.note("steps", steps)
    ctx.note("final_loss", result.losses[-1])
    ctx.note("loss", math.fsum(last) / len(last))


@stage()
def soften(ctx: Context, before: Path, taught: Path, *, kept: float) -> None:
    """Weights between the adopted model's and the taught one's, `kept` of the way.

    What was learnt hardly gets weaker, and what was forgotten comes back (WiSE-FT, Wortsman et al., arXiv:2109.01903,
    section 4).
    """
    import torch

    weights, tokenizer = _load(taught)
    start, _ = _load(before)
    with torch.no_grad():
        for weight, first in zip(weights.parameters(), start.parameters(), strict=True):
            weight.copy_(first + kept * (weight - first))
    _keep_model(ctx, weights, tokenizer, taught)


def _keep_model(ctx: Context, weights: Transformer, tokenizer: Tokenizer, before: Path) -> None:
    from ayllu.model.files import hf

    stops = sorted(tokenizer.stops)
    hf.save(ctx.folder, weights, bos=json.loads((before / "config.json").read_text()).get("bos_token_id"), stops=stops)
    tokenizer.save(ctx.folder)


@stage()
def skills(ctx: Context, model: Path, plan: PostPlan, *, items: int, kinds: tuple[str, ...]) -> None:
    """Held-out tool calls (`tool_calls`) and tasks (`reasoning`), reply by reply."""
    from ayllu.data.conversations.reasoning import Family, questions
    from ayllu.data.conversations.tool_requests import requests
    from ayllu.evals.skills.reasoning import score_reasoning
    from ayllu.evals.skills.tool_calls import score_tool_calls

    weights, tokenizer = _load(model)
    dtype = _dtype(plan.precision)
    rows: dict[str, list[dict[str, Any]]] = {}
    if "tool_calls" in kinds:
        asked = list(requests("held out", items, seed=0))
        rows["tool_calls"] = score_tool_calls(weights, tokenizer, asked, dtype=dtype)
    if "reasoning" in kinds:
        family = Family(FAMILY, ctx.cache, SETTINGS)
        # One for each of the items kept from training, as far as they go.
        held = questions(family, HELD_OUT, held_out=True)[:items]
        rows["reasoning"] = score_reasoning(weights, tokenizer, family, held, dtype=dtype)
    (ctx.folder / "replies.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    for name, verdict in VERDICTS:
        if name in rows:
            ctx.note(f"{name}_{verdict}", statistics.mean(row[verdict] for row in rows[name]))


@stage()
def benchmarks(ctx: Context, model: Path, plan: PostPlan, *, items: int) -> None:
    """HellaSwag, PIQA and ARC-Easy."""
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite

    weights, tokenizer = _load(model)
    suite = load_suite("small", items_per_set=items, cache=ctx.cache)
    scores = evaluate_suite(
        weights.eval(), tokenizer, suite, dtype=_dtype(plan.precision), folder=ctx.scratch / "items"
    )
    scores.save(ctx.folder)


VERDICTS = (("tool_calls", "exact"), ("tool_calls", "read"), ("reasoning", "correct"), ("reasoning", "format"))
"""Kinds of items, and what is judged of each reply."""
MARGIN = 0.02
"""A difference of accuracy above -0.02 counts as no loss."""


@stage()
def compare(
    ctx: Context,
    skills_before: Path,
    skills_between: Path,
    skills_after: Path,
    scores_before: Path,
    scores_after: Path,
    grpo: Path,
) -> None:
    """Before and after on the same held-out items, paired, and the curve of the rewards."""
    from ayllu.evals.compare import compare_scores, compare_verdicts
    from ayllu.evals.recompute import recompute
    from ayllu.train.objectives.grpo import read_rewards

    before, between, after = (
        json.loads((folder / "replies.json").read_text()) for folder in (skills_before, skills_between, skills_after)
    )

    def verdicts(rows: dict[str, Any], name: str, verdict: str) -> list[bool]:
        return [bool(row[verdict]) for row in rows[name]]

    table: dict[str, dict[str, Any]] = {}
    for name, verdict in VERDICTS:
        start = verdicts(before, name, verdict)
        row = {"adopted to final": compare_verdicts(start, verdicts(after, name, verdict))}
        if name in between:
            row["adopted to after GRPO"] = compare_verdicts(start, verdicts(between, name, verdict))
        table[f"{name} {verdict}"] = row
    benchmarks_ = compare_scores(recompute(scores_before), recompute(scores_after))["sets"]
    for entry in benchmarks_.values():
        entry["non_inferior"] = entry["accuracy"]["low"] > -MARGIN
    whole = {"skills": table, "benchmarks": benchmarks_, "pooled": _pooled(scores_before, scores_after)}
    (ctx.folder / "comparison.json").write_text(json.dumps(whole, indent=2) + "\n")
    draw_rewards(read_rewards(grpo / "rewards.jsonl"), ctx.folder / "rewards.png")
    ctx.note("comparison", whole)


def _pooled(first: Path, second: Path) -> dict[str, Any]:
    """The difference in accuracy over the items of all sets together: three times the items, so a narrower interval."""
    from ayllu.evals.compare import compare_verdicts
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


def draw_rewards(lines: Sequence[dict[str, float]], path: Path) -> None:
    """What each batch of rollouts earned: correct and format apart, thin, with running means."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, colour in (("correct", "#1f6f8b"), ("format", "#c8553d")):
        values = np.array([line[name] for line in lines])
        window = max(len(values) // 12, 1)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=0.6, alpha=0.35)
        axes.plot(np.arange(window, len(values) + 1), smooth, color=colour, linewidth=1.8, label=name)
    axes.set(xlabel="GRPO step", ylabel="share of the drawn answers", ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)


@stage(makes=lambda folder: folder / "release")
def release_post(
    ctx: Context,
    base: Path,
    model: Path,
    grpo: Path,
    sft: Path,
    dpo: Path,
    scores: Path,
    comparison: Path,
    plan: PostPlan,
    *,
    name: str,
    version: str,
    policy: str,
) -> None:
    """A signed folder that stands alone, with the table of before and after."""
    from ayllu.data.origin import read_origin
    from ayllu.lab.store import read_manifest
    from ayllu.release.build import build_release
    from ayllu.release.policy import find_policy

    origin = read_origin(base)
    told = {kind: read_manifest(folder)["record"] for kind, folder in (("grpo", grpo), ("sft", sft), ("dpo", dpo))}
    measured = math.fsum(record["seconds"] for record in told.values())
    records = {
        "description": (
            f"{origin.title}, taught sums, to call tools, and some manners, with Ayllu's recipe smol. The weights keep "
            f"{100 * KEPT:.0f} % of what training changed."
        ),
        "predicted": {"seconds": round(plan.seconds, 1)},
        "measured": {"seconds": round(measured, 1)},
        "posttraining": {
            kind: {field: record[field] for field in ("steps", "seconds", "loss", "final_loss")}
            for kind, record in told.items()
        },
        "comparison": json.loads((comparison / "comparison.json").read_text()),
        "machine": read_manifest(dpo)["machine"],
    }
    summary = build_release(
        ctx.folder / "release",
        weights=model,
        scores=scores,
        sources=[{"name": origin.title, "title": origin.source, "licence": origin.licence}],
        dialogues=[
            {"name": "tool-requests", "title": "Requests for tools, written for Ayllu", "licence": "Apache-2.0"},
            {"name": "small-talk", "title": "Small talk written for Ayllu", "licence": "Apache-2.0"},
            {"name": "reasoning-gym", "title": "Generated sums of reasoning-gym 0.1.25", "licence": "Apache-2.0"},
            {"name": "boolq-passages", "title": "Openings of Wikipedia articles", "licence": "CC-BY-SA-3.0"},
        ],
        records=records,
        name=name,
        version=version,
        policy=find_policy(policy),
        figures=[comparison / "rewards.png"],
    )
    for field, value in records.items():
        ctx.note(field, value)
    ctx.note("gates", list(summary.gates))
