"""What post-training learns from: conversations, pairs of answers and plain text, put together and made into ids."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Dataset, Weights, write_conversations

if TYPE_CHECKING:
    from ayllu.text.chat import Message
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations

LONGEST = 1024
"""Most ids of one conversation."""
GROUP = 6
"""Requests that share the definitions of their tools, and so one row."""
PLAIN_LENGTH = 128
"""Ids in a row of plain text."""
NAME = "Smol"


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
    from ayllu.text.template import FIXED_DAY

    return lambda messages: len(render(messages, tokenizer, reply=False, now=FIXED_DAY))


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
    from ayllu.text.template import FIXED_DAY

    def produced(messages: Sequence[Message]) -> list[int]:
        ids, predict = render_masked(messages, tokenizer, tools=tools)
        return [i for i, p in zip(ids, predict, strict=True) if p]

    before = len(produced(asked)) if any(message.role == "assistant" for message in asked) else 0
    right, wrong = (produced([*asked, answer])[before:] for answer in (good, bad))
    return render(asked, tokenizer, tools=tools, now=FIXED_DAY), right, wrong


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
