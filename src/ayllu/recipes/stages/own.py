"""One's own conversations that were held out, scored before and after training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.progress import say
from ayllu.recipes.stages.artifacts import OwnScores, Weights
from ayllu.recipes.stages.posttrain import PosttrainPlan

if TYPE_CHECKING:
    import torch

    from ayllu.model.transformer import Transformer
    from ayllu.text.template_mask import Masked


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
    from ayllu.recipes.stages.dataset import own_conversations
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
