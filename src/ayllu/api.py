"""What `import ayllu` offers to Python, and what the commands call.

To import this imports neither torch nor numpy: each function does, when it is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.train.distributed.layout import Layout

Recipe = Callable[..., Any]
"""A function whose call describes the stages of a run and gives the handle of the last one."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a recipe has made."""

    recipe: str
    release: Path
    """The folder of the release."""
    channel: str
    """The name by which `load`, `ayllu chat` and `ayllu serve` find it."""
    predicted: dict[str, float | None]
    """What was expected before the run: seconds, bits per byte, …"""
    measured: dict[str, float | None]
    """The same figures as they came out."""
    bits_per_byte: dict[str, float]
    """On held-out text, by source."""
    final_loss: float | None
    """Of pretraining, in nats per token."""
    stages: dict[str, Path]
    """The artifact of each stage."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `ayllu run --json` prints."""
        stages = {name: str(folder) for name, folder in self.stages.items()}
        return {**self.__dict__, "release": str(self.release), "stages": stages, "seconds": round(self.seconds, 1)}


def run(
    recipe: str | Recipe, /, *, home: Path | str | None = None, layout: Layout | str | None = None, **options: Any
) -> RunReport:
    """Run a recipe: every stage that is not there yet, from where a killed run stopped.

    `recipe` is the name of one (`cria`, `smol`, …) or a function that returns the handle of a release, `options` are
    its parameters, `home` is the folder for artifacts. A `layout` of several devices, such as `dp_shard=2`, needs that
    many processes, which torchrun or `ayllu run` start. Raises UserError for what the user can mend.
    """
    from ayllu.lab.channel import promote
    from ayllu.lab.run import resolve
    from ayllu.train.distributed.launch import processes_missing

    began = time.monotonic()
    function = find_recipe(recipe)
    handle = function(**options)
    place = _place(home, layout=job_layout(layout))
    if place.layout is not None and processes_missing(place.layout):
        raise UserError(
            f"the layout needs {place.layout.devices} processes and this is one; start them with torchrun, or let "
            "`ayllu run --layout` do it"
        )
    made = resolve(handle, place)
    result = made[handle]
    channel = str(options.get("name", function.__name__))
    if place.rank == 0:
        promote(place.store, channel, result.folder)
    record = result.record
    scores = (a.record["bits_per_byte"] for node, a in made.items() if node.stage.identity in ("evaluate", "heldout"))
    return RunReport(
        recipe=function.__name__,
        release=result.folder / "release",
        channel=channel,
        predicted=record["predicted"],
        measured=record["measured"],
        bits_per_byte=next(scores, {}),
        final_loss=record.get("pretraining", {}).get("final_loss"),
        stages={node.stage.identity: artifact.folder for node, artifact in made.items()},
        seconds=time.monotonic() - began,
    )


def why(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """For each stage of a recipe, in order: `stage`, `state` (kept, runs, …), `why` and `changed`. Nothing is run.

    The arguments are those of `run`, and so are the errors.
    """
    from ayllu.lab.why import explain

    return [row.as_json() for row in explain(find_recipe(recipe)(**options), _place(home))]


def accept(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[str]:
    """Keep the results of a recipe whose code has changed since, and say by it that nothing that matters has.

    The stages for which that was said; the arguments are those of `run`, and so are the errors.
    """
    from ayllu.lab import why

    return why.accept(find_recipe(recipe)(**options), _place(home))


def find_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of that name, or the function itself. UserError, with the names, when there is none."""
    if not isinstance(recipe, str):
        return recipe
    from ayllu.recipes import RECIPES

    return RECIPES.find(recipe)


def find_home(home: Path | str | None) -> Path:
    """The folder for artifacts, absolute: the one that is given, or $AYLLU_HOME, or ~/.local/share/ayllu."""
    from ayllu.lab.store import default_home

    return Path(home).expanduser().absolute() if home else default_home()


def job_layout(layout: Layout | str | None, *, nodes: int = 1) -> Layout | None:
    """How this process's job is spread; None for one process.

    A job that `ayllu fleet launch --plan` started finds its layout in the environment. UserError where there are
    several nodes or processes and none.
    """
    from ayllu.fleet.launch.planned_layout import LAYOUT_VARIABLE, layout_from_words
    from ayllu.train.distributed.layout import parse_layout

    if layout:
        return parse_layout(layout) if isinstance(layout, str) else layout
    if planned := os.environ.get(LAYOUT_VARIABLE):
        return layout_from_words(planned)
    if nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("many processes need to be told how to share the work; add --layout, such as dp_shard=8")
    return None


def _place(home: Path | str | None, *, layout: Layout | None = None) -> Any:
    from ayllu.data.archive import default_cache
    from ayllu.lab.run import Place
    from ayllu.lab.store import Store

    store, rank = Store(find_home(home)), int(os.environ.get("RANK", "0"))
    return Place(store=store, cache=default_cache(), layout=layout, rank=rank)
