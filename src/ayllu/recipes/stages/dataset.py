"""What post-training learns from: conversations, pairs of answers and plain text, put together and made into ids."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.data.conversations.lessons import NAME
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Dataset, Weights, write_conversations
from ayllu.recipes.stages.own import own_conversations, own_groups, own_pairs

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

PLAIN_LENGTH = 128
"""Ids in a row of plain text."""
SAFE = 0.2
"""Share of the groups of conversations that are lessons of safety, where there are any."""


@stage(identity="lessons", makes=Dataset, added={"only_own": False, "held_out": 0.0, "safety": False})
def build_dataset(
    ctx: Context,
    base: Handle[Weights],
    *,
    seed: int,
    groups: int,
    chats: str | None,
    preferences: str | None,
    only_own: bool = False,
    held_out: float = 0.0,
    safety: bool = False,
) -> None:
    """What to learn, groups of conversations and pairs of a better and a worse answer, and plain text to hold on to.

    With `only_own` the conversations are your own, each once; the share `held_out` of them is kept for measuring. With
    `safety` there are refusals of harmful requests among them, and answers to harmless ones.
    """
    from ayllu.data.conversations.lessons import lessons
    from ayllu.safety.tuning.lessons import lesson_conversations
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import with_shared_prefix

    tokenizer = Tokenizer.load(base.value)
    _check_format(tokenizer)
    chance = random.Random(seed)
    mine = own_conversations(chats, tokenizer, ctx.cache, held_out=held_out)[0] if chats else []
    made = (with_shared_prefix(group) for group in islice(lessons(tokenizer, chance), 0 if only_own else groups))
    try:
        conversations = [*made, *own_groups(mine, chance, len(mine) if only_own else groups // 2)]
        if safety:
            wanted = round(SAFE / (1 - SAFE) * len(conversations))
            conversations += islice(lesson_conversations(tokenizer, ctx.cache, seed=seed), wanted)
        own = own_pairs(preferences, tokenizer, ctx.cache) if preferences else []
        pairs = list(_pairs(tokenizer, chance, groups))
    except ValueError as error:
        raise UserError(f"the base cannot be taught what {NAME} learns: {error}; give another --base") from None
    write_conversations(ctx.folder / "conversations.jsonl", conversations)
    with (ctx.folder / "pairs.jsonl").open("w") as file:
        for number, pair in enumerate(pairs):
            if own:
                file.write(json.dumps(own[number % len(own)]) + "\n")
            file.write(json.dumps(pair) + "\n")
    (ctx.folder / "plain.json").write_text(json.dumps(list(islice(plain_rows(tokenizer, ctx.cache), groups))) + "\n")
    ctx.note("conversations", len(conversations))


def plain_rows(tokenizer: Tokenizer, cache: Path) -> Iterator[list[int]]:
    """Rows of plain text: beginnings of Wikipedia passages, which none of the benchmarks measured here draws on."""
    from ayllu.data.sources.reference import read_boolq

    for document in read_boolq(cache):
        ids = tokenizer.encode(document.text)[:PLAIN_LENGTH]
        if len(ids) == PLAIN_LENGTH:
            yield ids


def _check_format(tokenizer: Tokenizer) -> None:
    """Raises UserError where the base cannot hold conversations, before anything is made for it."""
    from ayllu.text.chat import Message, render_examples

    asked = [Message(role=role, content=role) for role in ("user", "assistant") * 2]
    try:
        render_examples(asked, tokenizer)
    except ValueError as error:
        raise UserError(f"the base cannot be taught conversations: {error}; give another --base") from None


def _pairs(tokenizer: Tokenizer, chance: random.Random, count: int) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Right calls against calls with one mistake, and fitting answers against answers to something else."""
    from ayllu.data.conversations.smalltalk import exchanges
    from ayllu.data.conversations.tool_requests import make_requests, wrong_call
    from ayllu.text.chat import Message, render_pair

    talk = [exchange for exchange in exchanges(NAME) if len(exchange.turns) >= 2]
    for request in make_requests("train", count, seed=chance.randrange(1 << 30)):
        if chance.random() < 0.8:
            asked = [Message(role="user", content=request.text)]
            good = Message(role="assistant", tool_calls=request.calls)
            bad = Message(role="assistant", tool_calls=wrong_call(request, chance))
            yield render_pair(asked, good, bad, tokenizer, request.tools)
        else:
            one, other = chance.sample(talk, 2)
            if one.topic == other.topic:
                continue
            asked = [Message(role="user", content=one.turns[0])]
            good, bad = (Message(role="assistant", content=turns[1]) for turns in (one.turns, other.turns))
            yield render_pair(asked, good, bad, tokenizer)
