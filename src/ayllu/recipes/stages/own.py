"""One's own conversations and preferences: as what is learnt from, and those held out scored before and after."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.progress import say
from ayllu.recipes.stages.artifacts import OwnScores, Weights
from ayllu.recipes.stages.posttrain import PosttrainPlan
from ayllu.text.template import FIXED_DAY

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.template_mask import Masked
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.objectives.sft import Conversations


LONGEST = 1024
"""Most ids of one conversation."""


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


def own_groups(own: list[list[Masked]], chance: random.Random, count: int) -> Iterator[Conversations]:
    """`count` of your own conversations in a drawn order, again from the first where there are fewer."""
    from ayllu.train.objectives.sft import with_shared_prefix

    chance.shuffle(own)
    for number in range(count if own else 0):
        for example in own[number % len(own)]:
            yield with_shared_prefix([example])


def own_pairs(digest: str, tokenizer: Tokenizer, cache: Path) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt and both answers of each line of the user's preferences. Raises UserError that names bad lines."""
    from ayllu.data.conversations.chats import Chat, name_of_copy, read_preferences, stored_copy
    from ayllu.text.chat import Message, render, render_pair

    def length(chat: Chat) -> int:
        return len(render(chat, tokenizer, tools=chat.tools, reply=False, now=FIXED_DAY))

    found = []
    shown = name_of_copy(digest, cache)
    for given in read_preferences(stored_copy(digest, cache), longest=LONGEST, length=length, shown=shown):
        good, bad = (Message(role="assistant", content=side) for side in (given.chosen, given.rejected))
        found.append(render_pair(given.prompt, good, bad, tokenizer, given.tools))
    return found


@stage(identity="own_heldout", makes=OwnScores)
def score_own(
    ctx: Context,
    adopted: Handle[Weights],
    final: Handle[Weights],
    plan: Handle[PosttrainPlan],
    *,
    chats: str,
    held_out: float,
) -> None:
    """Nats per predicted id of the conversations that were held out, before and after, and the interval between."""
    import numpy as np

    from ayllu.evals.statistics import mean_interval
    from ayllu.recipes.stages.weights import load_weights
    from ayllu.train.machine import dtype_of

    dtype, sides = dtype_of(plan.value.precision), []
    for weights in (adopted.value, final.value):
        model, tokenizer = load_weights(weights)
        kept = own_conversations(chats, tokenizer, ctx.cache, held_out=held_out)[1]
        sides.append([_nats(model, conversation, dtype) for conversation in kept])
    told: dict[str, float | int] = {"conversations": len(sides[0])}
    if not sides[0]:
        say(f"no conversation of yours is scored: a share of {held_out:g} of them is less than one; see --held-out")
    else:
        before, after = (np.array(side) for side in sides)
        told |= {"nats_per_token_before": float(before.mean()), "nats_per_token_after": float(after.mean())}
    if len(sides[0]) > 1:
        change = mean_interval(after - before)
        ends = {"change": change.value, "change_low": change.low, "change_high": change.high}
        told |= {name: value for name, value in ends.items() if value is not None}
    told = {name: round(value, 4) for name, value in told.items()}
    (ctx.folder / "own.json").write_text(json.dumps(told, indent=2) + "\n")
    ctx.note("own_conversations", told)


def _nats(model: Transformer, conversation: list[Masked], dtype: torch.dtype) -> float:
    """Cross-entropy of what the assistant produces in one conversation, in nats per id."""
    import torch

    from ayllu.train.objectives.sft import ConversationSource, conversation_loss, with_shared_prefix

    groups = [with_shared_prefix([example]) for example in conversation]
    batch = ConversationSource(groups, length=1, seed=0).batch(0, len(groups))
    with torch.no_grad():
        return float(conversation_loss(model, batch, dtype) / batch.count)
