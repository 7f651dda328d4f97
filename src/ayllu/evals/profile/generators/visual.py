"""Visual: questions about drawn scenes, which are held out from what `ayllu run see` learns from."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ayllu.data.scenes import questions
from ayllu.data.scenes.questions import Question
from ayllu.data.scenes.scene import Scene, draw_scene
from ayllu.evals.profile.item import Draft


def _of(kind: Callable[[Random, Scene], Question | None], *, least: int = 1) -> Callable[[Random, int], Draft]:
    """A kind of question as a generator, asked of scenes of `least` things: a level of more has more of them."""

    def generate(rng: Random, level: int) -> Draft:
        while True:
            scene = draw_scene(rng, max(least, level), "heldout", written=kind is questions.word)
            found = kind(rng, scene)
            if found is not None:
                return Draft(
                    question=f"{found.text} {found.form}",
                    answer=found.answer,
                    wrong=found.wrong,
                    check="number" if found.kind == "count" else "text",
                    closed=found.closed,
                    scene=scene.as_text(),
                )

    return generate


GENERATORS = {
    "count": _of(questions.count),
    "colour": _of(questions.colour),
    "shape": _of(questions.shape),
    "direction": _of(questions.direction, least=2),
    "size": _of(questions.size, least=2),
    "word": _of(questions.word),
}
