"""Runs the recipe smol on a tiny random model: python smol.py HOME [KIND of training to die in] [RELEASE before]."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ayllu.data.archive import default_cache
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import from_adopted
from ayllu.recipes.stages import evaluate, methods
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.release import previous_argument
from ayllu.train.objectives.grpo import RolloutSource
from support.models import TINY, tiny_model


@stage(identity="tiny", makes=Weights)
def tiny(ctx: Context) -> None:
    """A random model with Llama 3's chat format."""
    from ayllu.data.origin import Origin, write_origin
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    # Of the words around a list of tools, or such a list would not fit into the context.
    words = "given the following functions, respond with a JSON: name, parameters, type, string, object, answer"
    tokenizer = Tokenizer.learn([words] * 3, 600)
    model = tiny_model(replace(TINY, vocabulary=tokenizer.size, context=2048))
    hf.save(ctx.folder, model, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(ctx.folder)
    origin = Origin(kind="test", source="drawn at random", title="Tiny", licence="Apache-2.0", files={}, types={})
    write_origin(ctx.folder, origin)


@stage(identity="tests.says_four", makes=Weights)
def says_four(ctx: Context, start: Handle[Weights]) -> None:
    """A model that has one skill: it replies 4 to every sum, which some of them come to, and now and then 7."""
    import torch

    from ayllu.data.origin import read_origin, write_origin
    from ayllu.recipes.stages.weights import keep_weights, load_weights

    model, tokenizer = load_weights(start.value)
    tasks = methods.sum_tasks(ctx.cache, tokenizer, turns=methods.TURNS, seed=90)
    replies = [[*tokenizer.encode(number), min(tokenizer.stops)] for number in ("4", "4", "7")]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(60):
        reply = replies[step % len(replies)]
        ids = torch.tensor([tasks.prompt(step) + reply])
        logits = model.output(model.hidden(ids[:, :-1], dtype=torch.float32)[0, -len(reply) :])
        torch.nn.functional.cross_entropy(logits, ids[0, -len(reply) :]).backward()
        optimizer.step()
        optimizer.zero_grad()
    write_origin(ctx.folder, read_origin(start.value))
    keep_weights(ctx, model, tokenizer, like=start.value)


def main(home: str, stop_at: str = "", previous: str = "") -> None:
    if stop_at:
        batch = RolloutSource.batch

        def dies(self: Any, first: int, size: int) -> Any:
            if first >= 2 * size:
                os.kill(os.getpid(), signal.SIGKILL)
            return batch(self, first, size)

        RolloutSource.batch = dies  # type: ignore[method-assign]
    methods.CHECKPOINT_SECONDS = 0.0
    # Ten items of a random model show no skill: here every loss may pass the gate.
    evaluate.MARGIN = evaluate.SKILL_MARGIN = 1.1
    before = previous_argument(Path(previous) if previous else None)
    sizes: dict[str, Any] = {"budget": 1, "items": 10, "steps": (3, 2, 2)}
    handle = from_adopted(tiny(), seed=0, chats=None, preferences=None, name="tiny", previous=before, **sizes)
    resolve(handle, Place(store=Store(Path(home)), cache=default_cache()))


if __name__ == "__main__":
    main(*sys.argv[1:])
