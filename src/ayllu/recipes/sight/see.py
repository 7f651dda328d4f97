"""see: a language model that takes pictures, taught on rendered scenes."""

from __future__ import annotations

from ayllu.lab.error import UserError
from ayllu.lab.graph import Handle
from ayllu.recipes.adopt import adopted
from ayllu.recipes.limits import check_budget, check_seed
from ayllu.recipes.sight.keep import keep_sight
from ayllu.recipes.sight.learn import align_eyes, learn_sight, plan_sight
from ayllu.recipes.sight.scenes import draw_scenes
from ayllu.recipes.stages.artifacts import Weights

PICTURES = 80
"""Training scenes for a minute of the budget: all are learnt from once or twice."""


def see(
    *,
    budget: float = 25.0,
    seed: int = 0,
    base: str = "smollm2",
    pictures: int | None = None,
    steps: int | None = None,
    items: int = 60,
    name: str = "see",
) -> Handle[Weights]:
    """Teach a language model to take pictures as tokens, and measure it beside descriptions of held-out scenes.

    What comes of it is a model by its name, unsigned: `ayllu chat`, `ayllu eval --suite profile` and `ayllu glasses
    look` take it.

    Parameters
    ----------
    budget
        Minutes in all, some half of it training.
    seed
        Draws scenes, weights and the order of the data.
    base
        The language model, as `ayllu adopt` takes it; it needs a chat format.
    pictures
        Training scenes, instead of as many as the budget has time for.
    steps
        Steps of learning answers instead of what the budget buys. With the same number, and pictures, a run can be
        repeated exactly.
    items
        Held-out scenes, each with some seven questions.
    name
        The name of the model.
    """
    check_budget(budget, usual=25)
    check_seed(seed)
    for label, value in (("pictures", pictures), ("steps", steps), ("items", items)):
        if value is not None and value < 1:
            raise UserError(f"{label} is {value}; give at least 1")
    start = adopted(base)
    return from_language(start, budget=budget, seed=seed, pictures=pictures, steps=steps, items=items)


def from_language(
    start: Handle[Weights], *, budget: float, seed: int, pictures: int | None, steps: int | None, items: int
) -> Handle[Weights]:
    """The recipe from a language model on."""
    scenes = draw_scenes(seed=seed, pictures=pictures or max(40, round(PICTURES * budget)))
    aligned = align_eyes(start, scenes, seed=seed)
    plan = plan_sight(start, scenes, aligned, budget=budget, seed=seed, steps=steps)
    learnt = learn_sight(start, scenes, aligned, plan, seed=seed)
    return keep_sight(start, scenes, learnt, seed=seed, items=items)
