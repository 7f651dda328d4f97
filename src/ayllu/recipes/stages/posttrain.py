"""Post-training: what is learnt, how long each method takes, and the weights after each."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Dataset, Rehearsal, Weights, write_conversations
from ayllu.recipes.stages.methods import HELD_OUT, METHODS, TIMED, Setting, sums

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations

LONGEST = 1024
"""Most ids of one conversation."""
GROUP = 6
"""Requests that share the definitions of their tools, and so one row."""
ORDER = ("grpo", "sft", "dpo")
"""The methods of smol, in the order in which they pass."""
TRAINING = 0.6
"""Share of the budget that is training; the rest is measuring."""
REHEARSED = 0.1
"""Share of the conversations of SFT that are what the model itself answered right after GRPO: without them SFT, which
is about other things, would make it forget."""
PLAIN_LENGTH = 128
"""Ids in a row of plain text."""
DRAWN_TOGETHER = 64
"""Answers drawn at a time for the rehearsal."""
NAME = "Smol"


@dataclass(frozen=True, kw_only=True)
class PosttrainPlan:
    """How many steps of each method, and how long they should take."""

    steps: Mapping[str, int]
    seconds_per_step: Mapping[str, float]
    """Measured here before the run; 0 where the steps were given."""
    precision: str

    @property
    def seconds(self) -> float:
        return sum(self.steps[name] * self.seconds_per_step[name] for name in self.steps)


def open_posttrain_plan(folder: Path) -> PosttrainPlan:
    return PosttrainPlan(**json.loads((folder / "plan.json").read_text()))


@stage(identity="lessons", makes=Dataset)
def build_dataset(
    ctx: Context, base: Handle[Weights], *, seed: int, groups: int, chats: str | None, preferences: str | None
) -> None:
    """What to learn, groups of conversations and pairs of a better and a worse answer, and plain text to hold on to."""
    from ayllu.data.conversations.chats import stored_copy
    from ayllu.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(base.value)
    chance = random.Random(seed)
    own_chats = stored_copy(chats, ctx.cache) if chats else None
    conversations = list(_conversations(tokenizer, chance, groups, own_chats))
    write_conversations(ctx.folder / "conversations.jsonl", conversations)
    with (ctx.folder / "pairs.jsonl").open("w") as file:
        own = _own_pairs(stored_copy(preferences, ctx.cache), tokenizer) if preferences else []
        for number, pair in enumerate(_pairs(tokenizer, chance, groups)):
            if own:
                file.write(json.dumps(own[number % len(own)]) + "\n")
            file.write(json.dumps(pair) + "\n")
    (ctx.folder / "plain.json").write_text(json.dumps(list(islice(_plain(tokenizer, ctx.cache), groups))) + "\n")
    ctx.note("conversations", len(conversations))


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
    from ayllu.data.conversations.tool_requests import make_request_group
    from ayllu.text.chat import Message, render_masked
    from ayllu.train.objectives.sft import with_shared_prefix

    def spoken(turns: Sequence[str]) -> list[Message]:
        return [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(turns)]

    talk = list(exchanges(NAME))
    for _ in range(groups):
        kind = chance.random()
        if kind < 0.86:
            asked = make_request_group("train", GROUP, chance)
            made = [
                [Message(role="user", content=r.text), Message(role="assistant", tool_calls=r.calls)] for r in asked
            ]
            rendered = [render_masked(messages, tokenizer, tools=asked[0].tools) for messages in made]
        else:
            rendered = [render_masked(spoken(chance.choice(talk).turns), tokenizer) for _ in range(2 * GROUP)]
        yield with_shared_prefix(rendered)
    if chats is not None:
        own = read_chats(chats, longest=LONGEST, length=_length(tokenizer))
        chance.shuffle(own)
        for number in range(groups // 2):
            yield with_shared_prefix([render_masked(own[number % len(own)], tokenizer)])


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
    from ayllu.data.conversations.tool_requests import make_requests, wrong_call
    from ayllu.text.chat import Message

    talk = [exchange for exchange in exchanges(NAME) if len(exchange.turns) >= 2]
    for request in make_requests("train", count, seed=chance.randrange(1 << 30)):
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


@stage(identity="rehearsal", makes=Rehearsal, rev=2)
def rehearse(ctx: Context, model: Handle[Weights], plan: Handle[PosttrainPlan], *, seed: int) -> None:
    """Answers of `model` to training questions that the checker accepts, as groups of conversations: what SFT mixes in.

    Rejection sampling, section 4.2.2 of The Llama 3 Herd of Models (arXiv:2407.21783): the model learns from its own
    right answers, so nothing here tells it what it did not know.
    """
    from ayllu.data.conversations.reasoning import distinct_items
    from ayllu.lab.progress import bar
    from ayllu.model.sample import in_type
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.rewards import ReasoningTasks
    from ayllu.train.objectives.sft import with_shared_prefix

    planned = plan.value
    weights, tokenizer = _load(model.value)
    weights = in_type(weights, dtype_of(planned.precision))
    family = sums(ctx.cache)
    # Seeds that GRPO does not reach, so that the questions are mostly new ones.
    tasks = ReasoningTasks(family, tokenizer, held_out=distinct_items(family, HELD_OUT, held_out=True), seed=seed + 20)
    right: list[tuple[list[int], list[bool]]] = []
    wanted = max(round(REHEARSED * planned.steps["sft"] * METHODS.find("sft")().batch), 1) * GROUP
    with bar("rehearsal", total=wanted, unit="answers") as progress:
        for first in range(0, 20 * wanted, DRAWN_TOGETHER):
            found = _right_answers(weights, tokenizer, tasks, range(first, first + DRAWN_TOGETHER), seed)
            right.extend(found)
            progress.advance(len(found))
            if len(right) >= wanted:
                break
    groups = [with_shared_prefix(right[at : at + GROUP]) for at in range(0, len(right), GROUP)]
    write_conversations(ctx.folder / "conversations.jsonl", groups)
    ctx.note("answers", len(right))


def _right_answers(
    weights: Transformer, tokenizer: Tokenizer, tasks: Any, numbers: Sequence[int], seed: int
) -> list[tuple[list[int], list[bool]]]:
    """One answer to each task, as far as it is right and ends: ids of prompt and answer, and which are the answer's."""
    from ayllu.model.sample import sample
    from ayllu.recipes.stages.methods import GRPO
    from ayllu.train.objectives.grpo import hash_seed

    prompts = [tasks.prompt(number) for number in numbers]
    seeds = [[hash_seed(seed, number, 0)] for number in numbers]
    drawn = sample(weights, prompts, tokens=GRPO().answer_ids, stop=tokenizer.stops, seeds=seeds)
    return [
        ([*prompt, *answer.ids], [False] * len(prompt) + [True] * len(answer.ids))
        for number, prompt, (answer,) in zip(numbers, prompts, drawn, strict=True)
        if answer.ids and answer.ids[-1] in tokenizer.stops and tasks.reward(number, answer).correct
    ]


@stage(
    identity="plan_post",
    makes=open_posttrain_plan,
    rev=2,
    names_in_key={"dataset": "learnt"},
    added={"methods": ORDER},
    reaches=lambda arguments: [METHODS.find(name) for name in arguments["methods"]],
)
def plan_posttraining(
    ctx: Context,
    base: Handle[Weights],
    dataset: Handle[Dataset],
    *,
    budget: float,
    seed: int,
    steps: tuple[int, ...] | None,
    items: int,
    methods: tuple[str, ...] = ORDER,
) -> None:
    """Steps of each method for `budget` minutes on this machine: a few of each are timed."""
    from ayllu.train.machine import fastest_precision

    precision = fastest_precision()
    if steps is not None:
        plan = PosttrainPlan(
            steps=dict(zip(methods, steps, strict=True)),
            seconds_per_step=dict.fromkeys(methods, 0.0),
            precision=precision,
        )
    else:
        used = {name: METHODS.find(name)() for name in methods}
        each = {}
        for name, method in used.items():
            setting = _setting(ctx, base, dataset, adopted=base, precision=precision, seed=seed, steps=1 + TIMED)
            each[name] = method.seconds_per_step(dataclasses.replace(setting, journal="trial.jsonl"))
        bought = {name: 60 * budget * TRAINING * method.share / each[name] for name, method in used.items()}
        plan = PosttrainPlan(
            steps={name: max(round(bought[name]), method.least_steps) for name, method in used.items()},
            seconds_per_step={name: round(seconds, 3) for name, seconds in each.items()},
            precision=precision,
        )
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


@stage(
    identity="teach",
    makes=Weights,
    rev=2,
    names_in_key={
        "dataset": "learnt",
        "method": "kind",
        "lr": "rate",
        "adopted": "before",
        "rehearsal": "rehearsed",
    },
    reaches=lambda arguments: [METHODS.find(arguments["method"])],
)
def posttrain(
    ctx: Context,
    model: Handle[Weights],
    dataset: Handle[Dataset],
    plan: Handle[PosttrainPlan],
    *,
    method: str,
    seed: int,
    lr: float,
    rank: int,
    adopted: Handle[Weights],
    rehearsal: Handle[Rehearsal] | None = None,
) -> None:
    """The weights after one method with LoRA, merged; `adopted` is the model that everything began with."""
    from ayllu.train.loop import train
    from ayllu.train.lora import LoraConfig, attach, detach

    planned, used = plan.value, METHODS.find(method)()
    steps = planned.steps[method]
    setting = _setting(ctx, model, dataset, adopted=adopted, precision=planned.precision, seed=seed, steps=steps)
    if rehearsal is not None:
        setting = dataclasses.replace(setting, rehearsal=rehearsal.value)
    source, objective = used.source(setting), used.objective(setting)
    # The source of rollouts draws from these weights, so they get their adapters in place.
    attach(setting.model, LoraConfig(rank=rank, alpha=2.0 * rank), seed=seed)
    ctx.predict("seconds", round(steps * planned.seconds_per_step[method], 1))
    config = used.config(steps=steps, lr=lr, precision=planned.precision)
    result = train(setting.model, source, config, objective=objective, scratch=ctx.scratch, title=method)
    keep_weights(ctx, detach(setting.model, merge=True), setting.tokenizer, like=model.value)
    journal = ctx.scratch / setting.journal
    if journal.exists():
        (ctx.folder / setting.journal).write_bytes(journal.read_bytes())
    note_training(ctx, result.losses, seconds=result.seconds, steps=steps)
    ctx.note("waited_for_checkpoints", round(result.waited, 2))
    ctx.note("final_loss", result.losses[-1])


@stage(identity="soften", makes=Weights, names_in_key={"adopted": "before", "trained": "taught"})
def interpolate_weights(ctx: Context, adopted: Handle[Weights], trained: Handle[Weights], *, kept: float) -> None:
    """Weights between the adopted model's and the trained one's, `kept` of the way.

    What was learnt hardly gets weaker, and what was forgotten comes back (WiSE-FT, Wortsman et al., arXiv:2109.01903,
    section 4).
    """
    import torch

    weights, tokenizer = _load(trained.value)
    start, _ = _load(adopted.value)
    with torch.no_grad():
        for weight, first in zip(weights.parameters(), start.parameters(), strict=True):
            weight.copy_(first + kept * (weight - first))
    keep_weights(ctx, weights, tokenizer, like=trained.value)


def keep_weights(ctx: Context, weights: Transformer, tokenizer: Tokenizer, *, like: Path) -> None:
    """Write a model with the tokenizer and the first id of the model in the folder `like`."""
    from ayllu.model.files import hf

    stops = sorted(tokenizer.stops)
    hf.save(ctx.folder, weights, bos=json.loads((like / "config.json").read_text()).get("bos_token_id"), stops=stops)
    tokenizer.save(ctx.folder)


def note_training(ctx: Context, losses: list[float], *, seconds: float, steps: int) -> None:
    """Keep the losses, and in the record their mean over the last twenty steps."""
    from ayllu.train.loop import write_losses

    write_losses(ctx.folder / "losses.jsonl", losses)
    last = losses[-min(20, len(losses)) :]
    ctx.note("seconds", round(seconds, 1))
    ctx.note("steps", steps)
    ctx.note("loss", math.fsum(last) / len(last))


def _load(folder: Path) -> tuple[Transformer, Tokenizer]:
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    return hf.load(folder), Tokenizer.load(folder)


def _setting(
    ctx: Context,
    model: Handle[Weights],
    dataset: Handle[Dataset],
    *,
    adopted: Handle[Weights],
    precision: str,
    seed: int,
    steps: int,
) -> Setting:
    weights, tokenizer = _load(model.value)
    return Setting(
        model=weights,
        tokenizer=tokenizer,
        dataset=dataset.value,
        adopted=adopted.value,
        precision=precision,
        seed=seed,
        steps=steps,
        cache=ctx.cache,
        scratch=ctx.scratch,
    )
