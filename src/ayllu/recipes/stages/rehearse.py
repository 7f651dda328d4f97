"""Rehearsal: what a model itself answered right, to be learnt from beside other things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ayllu.data.conversations.lessons import GROUP
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Rehearsal, Weights, write_conversations
from ayllu.recipes.stages.methods import GRPO, METHODS, TURNS, sum_tasks
from ayllu.recipes.stages.posttrain import PosttrainPlan
from ayllu.recipes.stages.weights import load_weights

if TYPE_CHECKING:
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

REHEARSED = 0.1
"""Share of the conversations of SFT that are what the model itself answered right after GRPO: without them SFT, which
is about other things, would make it forget."""
DRAWN_TOGETHER = 64
"""Answers drawn at a time."""


@stage(identity="rehearsal", makes=Rehearsal, rev=3)
def rehearse(ctx: Context, model: Handle[Weights], plan: Handle[PosttrainPlan], *, seed: int) -> None:
    """Answers of `model` to training questions that the checker accepts, as groups of conversations: what SFT mixes in.

    Rejection sampling, section 4.2.2 of The Llama 3 Herd of Models (arXiv:2407.21783): the model learns from its own
    right answers, so nothing here tells it what it did not know.
    """
    from ayllu.lab.progress import bar
    from ayllu.model.sample import in_type
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.sft import with_shared_prefix

    planned = plan.value
    weights, tokenizer = load_weights(model.value)
    weights = in_type(weights, dtype_of(planned.precision))
    # Seeds that GRPO does not reach, so that the questions are mostly new ones.
    tasks = sum_tasks(ctx.cache, tokenizer, turns=TURNS, seed=seed + 20)
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
    from ayllu.train.objectives.grpo import hash_seed

    prompts = [tasks.prompt(number) for number in numbers]
    seeds = [[hash_seed(seed, number, 0)] for number in numbers]
    drawn = sample(weights, prompts, tokens=GRPO().answer_ids, stop=tokenizer.stops, seeds=seeds)
    return [
        ([*prompt, *answer.ids], [False] * len(prompt) + [True] * len(answer.ids))
        for number, prompt, (answer,) in zip(numbers, prompts, drawn, strict=True)
        if answer.ids and answer.ids[-1] in tokenizer.stops and tasks.reward(number, answer).correct
    ]
