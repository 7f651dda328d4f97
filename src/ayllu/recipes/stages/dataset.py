"""What post-training learns from: conversations, pairs of answers and plain text, put together and made into ids."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.conversations.lessons import NAME
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Dataset, Weights, write_conversations
from ayllu.text.template import FIXED_DAY

if TYPE_CHECKING:
    from ayllu.text.chat import Message
    from ayllu.text.template_mask import Masked
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations

LONGEST = 1024
"""Most ids of one conversation."""
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
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import with_shared_prefix

    tokenizer = Tokenizer.load(base.value)
    _check_format(tokenizer)
    chance = random.Random(seed)
    mine = own_conversations(chats, tokenizer, ctx.cache, held_out=held_out)[0] if chats else []
    made = (with_shared_prefix(group) for group in islice(lessons(tokenizer, chance), 0 if only_own else groups))
    try:
        conversations = [*made, *_own_groups(mine, chance, len(mine) if only_own else groups // 2)]
        if safety:
            wanted = round(SAFE / (1 - SAFE) * len(conversations))
            conversations += islice(_safety_groups(tokenizer, ctx.cache, seed), wanted)
        own = _own_pairs(preferences, tokenizer, ctx.cache) if preferences else []
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


def own_conversations(
    digest: str, tokenizer: Tokenizer, cache: Path, *, held_out: float = 0.0
) -> tuple[list[list[Masked]], list[list[Masked]]]:
    """What is learnt of each of your own conversations, and what is kept: the share `held_out` of those that differ.

    Raises UserError that names the lines of your file that cannot be used.
    """
    from ayllu.data.conversations.chats import Chat, name_of_copy, read_chats, stored_copy
    from ayllu.text.chat import render_examples

    examples: list[list[Masked]] = []

    def length(chat: Chat) -> int:
        examples.append(render_examples(chat, tokenizer, tools=chat.tools, unlearnt=chat.unlearnt))
        if not all(any(produced) for _, produced in examples[-1]):
            raise ValueError("nothing of it is to be learnt")
        return max(len(ids) for ids, _ in examples[-1])

    read_chats(stored_copy(digest, cache), longest=LONGEST, length=length, shown=name_of_copy(digest, cache))
    # By what is said, so that a conversation that stands there twice is not learnt and measured.
    order = [hashlib.sha256(json.dumps(example).encode()).hexdigest() for example in examples]
    kept = set(sorted(set(order))[: int(held_out * len(set(order)))])
    sides: tuple[list[list[Masked]], list[list[Masked]]] = ([], [])
    for example, named in zip(examples, order, strict=True):
        sides[named in kept].append(example)
    return sides


def _own_groups(own: list[list[Masked]], chance: random.Random, count: int) -> Iterator[Conversations]:
    """`count` of your own conversations in a drawn order, again from the first where there are fewer."""
    from ayllu.train.objectives.sft import with_shared_prefix

    chance.shuffle(own)
    for number in range(count if own else 0):
        for example in own[number % len(own)]:
            yield with_shared_prefix([example])


def _safety_groups(tokenizer: Tokenizer, cache: Path, seed: int) -> Iterator[Conversations]:
    """Requests that are to be refused and requests that are to be answered, some to a group, without an end."""
    from ayllu.safety.tuning.lessons import lesson_groups
    from ayllu.text.chat import Message, render_masked
    from ayllu.train.objectives.sft import with_shared_prefix

    for group in lesson_groups(cache, seed=seed):
        yield with_shared_prefix(
            [
                render_masked(
                    [Message(role="user", content=one.request), Message(role="assistant", content=one.answer)],
                    tokenizer,
                )
                for one in group
            ]
        )


def _own_pairs(digest: str, tokenizer: Tokenizer, cache: Path) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt and both answers of each line of the user's preferences. Raises UserError that names bad lines."""
    from ayllu.data.conversations.chats import Chat, name_of_copy, read_preferences, stored_copy
    from ayllu.text.chat import Message, render

    def length(chat: Chat) -> int:
        return len(render(chat, tokenizer, tools=chat.tools, reply=False, now=FIXED_DAY))

    found = []
    shown = name_of_copy(digest, cache)
    for given in read_preferences(stored_copy(digest, cache), longest=LONGEST, length=length, shown=shown):
        good, bad = (Message(role="assistant", content=side) for side in (given.chosen, given.rejected))
        found.append(_pair(given.prompt, good, bad, tokenizer, given.tools))
    return found


def _pair(
    asked: Sequence[Message], good: Message, bad: Message, tokenizer: Tokenizer, tools: Any = ()
) -> tuple[list[int], list[int], list[int]]:
    """The ids up to the answer, and those that the assistant produces to say either."""
    from ayllu.text.chat import render, render_examples

    # Only the answer is compared: what the assistant said before is part of what was asked.
    said = {number for number, message in enumerate(asked) if message.role == "assistant"}

    sides, prompt = [], render(asked, tokenizer, tools=tools, now=FIXED_DAY)
    for answer in (good, bad):
        ((ids, predict),) = render_examples([*asked, answer], tokenizer, tools=tools, unlearnt=said)
        sides.append([i for i, p in zip(ids, predict, strict=True) if p])
        if ids[: len(prompt)] != prompt:
            # A prompt that opens thoughts is not what an answer without any stands behind.
            prompt = ids[: predict.index(True)]
    return prompt, sides[0], sides[1]


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
