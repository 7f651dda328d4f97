"""The model that sees, kept with what it was measured to do beside descriptions of the same held-out scenes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.data.scenes.photos import SOURCE as PHOTOGRAPHS
from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.sight.learn import Learnt
from ayllu.recipes.sight.scenes import EFFICIENTNET, SceneFolder, draw_asked
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.weights import keep_weights, load_weights

if TYPE_CHECKING:
    from ayllu.device.see.scene import Scene
    from ayllu.evals.sight.compare import Replied
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

MEASURED = "sight.json"
DESCRIBED = 24
"""Most ids of an answer from a description."""


@stage(identity="keep_sight", makes=Weights)
def keep_sight(
    ctx: Context,
    base: Handle[Weights],
    scenes: Handle[SceneFolder],
    learnt: Handle[Learnt],
    *,
    seed: int,
    items: int,
) -> None:
    """The model with its eyes, and `sight.json`: who was right how often on `items` held-out scenes."""
    from ayllu.data.origin import read_origin, write_origin
    from ayllu.evals.sight.compare import best, compare_replies, likeliest_answers
    from ayllu.model.sight.files import EYES, PROJECTOR
    from ayllu.train.lora import detach, load_adapter

    language, tokenizer = load_weights(base.value)
    load_adapter(learnt.value, language)
    keep_weights(ctx, detach(language, merge=True), tokenizer, like=base.value)
    shutil.copyfile(scenes.value.folder / EYES, ctx.folder / EYES)
    shutil.copyfile(learnt.value / PROJECTOR, ctx.folder / PROJECTOR)
    write_origin(ctx.folder, read_origin(base.value))
    usual = likeliest_answers(question for asked in scenes.value.asked() for question in asked.questions)
    replied = list(_replies(ctx, base.value, seed=seed, items=items, usual=usual))
    table = compare_replies(replied, first="model")
    measured = {
        "default": best(table, ("statements", "both", "model")),
        "kinds": table,
        "made_of": [
            {"name": str(EFFICIENTNET), "title": "EfficientNet-Lite0 of tensorflow/tpu", "licence": "Apache-2.0"},
            PHOTOGRAPHS,
        ],
        "seed": seed,
    }
    (ctx.folder / MEASURED).write_text(json.dumps(measured, indent=2) + "\n")
    ctx.note("measured", {who: share["value"] for who, share in table["all"]["right"].items()})
    ctx.note("default", measured["default"])


def _replies(ctx: Context, base: Path, *, seed: int, items: int, usual: dict[str, str]) -> Iterator[Replied]:
    """What each says to the questions about held-out scenes."""
    from ayllu.data.scenes.picture import as_png, draw_picture
    from ayllu.device.see.answer import answer
    from ayllu.device.see.eyes import Eyes
    from ayllu.evals.sight.compare import Replied
    from ayllu.evals.sight.seer import Seer
    from ayllu.lab import progress

    adopted, tokenizer = load_weights(base)
    seer, eyes = Seer.load(ctx.folder, load_weights(ctx.folder)[0], tokenizer), Eyes(ctx.cache)
    with progress.bar("held-out scenes", total=items, unit="pictures") as bar:
        for number in range(items):
            asked = draw_asked(seed, number, "heldout")
            pixels_HW3 = draw_picture(asked.scene, ctx.cache)
            texts = [question.text for question in asked.questions]
            scene = eyes.look(as_png(pixels_HW3))
            own = seer.answer(seer.view(pixels_HW3), texts)
            told = _described(adopted, tokenizer, scene, texts)
            for question, by_model, described in zip(asked.questions, own, told, strict=True):
                stated = answer(scene, question.text)
                says = stated.text if stated else ""
                yield Replied(
                    scene=number,
                    question=question,
                    replies={
                        "model": by_model,
                        "statements": says,
                        "both": says if stated is not None and stated.rests_on else by_model,
                        "description": described,
                        "usual answer": usual[question.kind],
                    },
                )
            bar.advance()


def _described(model: Transformer, tokenizer: Tokenizer, scene: Scene, questions: Sequence[str]) -> list[str]:
    """What the language model that sees nothing answers from what the eyes tell."""
    from ayllu.model.sample import sample
    from ayllu.text.chat import Message, render
    from ayllu.text.template import FIXED_DAY

    said = [Message(role="user", content=f"{scene.told()}\n\n{question}") for question in questions]
    prompts = [render([message], tokenizer, now=FIXED_DAY) for message in said]
    drawn = sample(model, prompts, tokens=DESCRIBED, stop=tokenizer.stops, temperature=0.0)
    return [tokenizer.decode(answer.ids) for (answer,) in drawn]
