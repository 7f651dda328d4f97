"""How well a draft model foresees its target: the share of its tokens that speculative decoding would accept.

A draft proposes x from q, the target accepts with min(1, p(x) / q(x)); over all x that is the sum of min(p, q), the
acceptance rate of Leviathan et al., arXiv:2211.17192, section 3.2. At temperature 0 both take their likeliest token.

Shapes: B answers, T time, N tokens of the answers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ayllu.model.transformer import Transformer

ROWS = 64
"""Tokens whose distributions are held at a time."""


@dataclass(frozen=True, kw_only=True)
class AcceptedTokens:
    """What speculative decoding would accept of a draft within one answer of the target."""

    tokens: int
    accepted: float
    """Expected number at temperature 1."""
    greedy: int
    """Tokens for which both find the same one likeliest."""


@torch.inference_mode()
def draft_acceptance(
    target: Transformer,
    draft: Transformer,
    answers: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    dtype: torch.dtype = torch.float32,
) -> list[AcceptedTokens]:
    """For each pair of a prompt and the target's answer how well `draft` foresees the answer's tokens.

    Raises ValueError where the two do not share a vocabulary, or a prompt or an answer is empty.
    """
    if target.config.vocabulary != draft.config.vocabulary:
        raise ValueError("a draft must have the target's vocabulary")
    found = []
    for prompt, answer in answers:
        if not prompt or not answer:
            raise ValueError("a prompt or an answer is empty: there is nothing to measure")
        ids_BT = torch.tensor([[*prompt, *answer[:-1]]], device=target.embedding.weight.device)
        states = [model.hidden(ids_BT, dtype=dtype)[0, len(prompt) - 1 :] for model in (target, draft)]
        accepted, greedy = 0.0, 0
        for target_ND, draft_ND in zip(states[0].split(ROWS), states[1].split(ROWS), strict=True):
            p_NV, q_NV = (
                model.output(state_ND).float().softmax(-1)
                for model, state_ND in ((target, target_ND), (draft, draft_ND))
            )
            accepted += torch.minimum(p_NV, q_NV).sum().item()
            greedy += int((p_NV.argmax(-1) == q_NV.argmax(-1)).sum())
        found.append(AcceptedTokens(tokens=len(answer), accepted=accepted, greedy=greedy))
    return found


def tokens_per_pass(rate: float, proposed: int) -> float:
    """Tokens that one pass of the target yields for `proposed` ones, each accepted with probability `rate`.

    (1 - rate^(proposed + 1)) / (1 - rate): equation 1 of arXiv:2211.17192.
    """
    return (1 - rate ** (proposed + 1)) / (1 - rate) if rate < 1 else proposed + 1.0
