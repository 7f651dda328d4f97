"""Recipes: run, explained before they run, and accepted after their code has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.api.home import find_home, open_place
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.lab.graph import Handle
    from ayllu.lab.store import Store
    from ayllu.train.distributed.layout import Layout


Recipe = Callable[..., Any]
"""A function whose call describes the stages of a run and gives the handle of the last one."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a recipe has made."""

    recipe: str
    release: Path
    """The folder of the release; of a recipe that ends otherwise, what it makes."""
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
    """The artifact of each stage; of one that is used several times, of the last use, and of each by its label."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """What `ayllu run --json` prints."""
        stages = {name: str(folder) for name, folder in self.stages.items()}
        return {**self.__dict__, "release": str(self.release), "stages": stages, "seconds": round(self.seconds, 1)}


def run(
    recipe: str | Recipe,
    /,
    *,
    home: Path | str | None = None,
    layout: Layout | str | None = None,
    team: str | None = None,
    **options: Any,
) -> RunReport:
    """Run a recipe: every stage that is not there yet, from where a killed run stopped.

    `recipe` is the name of one (`cria`, `smol`, …) or a function that returns a handle, of a release as a rule;
    `options` are its parameters, `home` is the folder for artifacts. A `layout` of several devices, such as
    `dp_shard=2`, needs that many processes, which torchrun or `ayllu run` start. `team` is the address of a store that
    is shared with other machines. Raises UserError for what the user can mend.
    """
    from ayllu.fleet.launch.planned_layout import job_layout
    from ayllu.lab.channel import check_name, promote, refuse_guarded
    from ayllu.lab.graph import labels, order
    from ayllu.lab.progress import say
    from ayllu.lab.run import resolve
    from ayllu.lab.why import explain, outline
    from ayllu.recipes.registry import command_of, made_by
    from ayllu.release.trust.revoked import refuse_revoked
    from ayllu.train.distributed.launch import processes_missing

    began = time.monotonic()
    function = find_recipe(recipe)
    typed, options = options, placed(options, home)
    handle = _described(function, options)
    recipe_name = getattr(function, "__name__", "recipe")
    channel = str(options.get("name", recipe_name))
    check_name(channel)  # before hours of work
    _check_release(handle)
    command = command_of(recipe_name, typed)
    place = open_place(home, layout=job_layout(layout), command=command, title=channel, team=team)
    refuse_guarded(place.store, channel)
    if place.layout is not None and processes_missing(place.layout):
        raise UserError(
            f"the layout needs {place.layout.devices} processes and this is one; start them with torchrun, or let "
            "`ayllu run --layout` do it"
        )
    if place.rank == 0:
        say(*outline(channel, explain(handle, place)))
    made = resolve(handle, place)
    result = made[handle]
    refuse_revoked(result.folder / "release")
    if place.rank == 0:
        promote(place.store, channel, result.folder, made_by=made_by(recipe, options))
    record, release = result.record, result.folder / "release"
    names, identities = labels(order(handle)), {node: node.stage.identity for node in made}
    scores = (a.record["bits_per_byte"] for node, a in made.items() if node.stage.identity in ("evaluate", "heldout"))
    return RunReport(
        recipe=recipe_name,
        release=release if release.is_dir() else result.folder,
        channel=channel,
        predicted=record.get("predicted", {}),
        measured=record.get("measured", {}),
        bits_per_byte=next(scores, {}),
        final_loss=record.get("pretraining", {}).get("final_loss"),
        stages={name: made[node].folder for found in (identities, names) for node, name in found.items()},
        seconds=time.monotonic() - began,
    )


def _check_release(handle: Handle[Any]) -> None:
    """A release's name takes fewer letters than a channel's: UserError where the last stage would refuse it."""
    from ayllu.recipes.stages.release import PRIVATE
    from ayllu.release.manifest import NAME, check_called

    given = handle.arguments
    if handle.stage.publishes and "name" in given and given.get("policy") != PRIVATE:
        check_called("name", str(given["name"]), NAME)


def why(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[dict[str, Any]]:
    """For each stage of a recipe, in order: `stage`, `label` (which tells several uses of one stage apart), `state`
    (kept, runs, …), `why`, `changed` and `seconds` (that it took). Nothing is run, and nothing is written.

    The arguments are those of `run`, or the name of a release or model alone, and so are the errors.
    """
    from ayllu.lab.channel import NoSuchName, current
    from ayllu.lab.why import explain, trace
    from ayllu.recipes.registry import RECIPES, recalled

    place = open_place(home, writes=False)
    if isinstance(recipe, str) and recipe not in RECIPES.names() and not options:
        try:
            entry = current(place.store, recipe)
        except NoSuchName as error:
            entry = _kept(place.store, recipe, error)
        try:
            recipe, options = recalled(entry.get("made_by")) or (recipe, options)
            return [row.as_json() for row in explain(_described(find_recipe(recipe), options), place)]
        except UserError:  # the recipe is not here, or what it was given is gone: what is kept can still be told
            return [row.as_json() for row in trace(place.store, entry["stage"], entry["key"])]
    return [row.as_json() for row in explain(_described(find_recipe(recipe), placed(options, home)), place)]


def placed(options: Mapping[str, Any], home: Path | str | None) -> dict[str, Any]:
    """Options with the release before as a folder, also where it is named as `ayllu list` names it.

    A name goes on to mean the newest release; the folder is what stands in a record. Raises UserError where there is
    none of the name.
    """
    from ayllu.lab.channel import find_model

    before = options.get("previous")
    try:
        if before is None or Path(before).is_dir():
            return dict(options)
    except OSError:  # too long for a file's name
        pass
    return {**options, "previous": find_model(str(before), find_home(home))}


def _kept(store: Store, name: str, error: UserError) -> dict[str, Any]:
    """Stage and key of what the beginning of a key, a tag or a folder means; raises `error` where it means nothing."""
    from ayllu.lab.shelf.find import NothingCalled, find

    try:
        row = find(store, name)
    except NothingCalled:
        raise error from None
    if row.kind == "run" or row.key is None:
        raise UserError(f"{row.name} is a run; ask for what it has made")
    return {"stage": row.stage, "key": row.key}


def accept(recipe: str | Recipe, /, *, home: Path | str | None = None, **options: Any) -> list[str]:
    """Keep the results of a recipe whose code has changed since, and say by it that nothing that matters has.

    The stages for which that was said; the arguments are those of `run`, and so are the errors.
    """
    from ayllu.lab import why

    return why.accept(_described(find_recipe(recipe), placed(options, home)), open_place(home))


def _described(recipe: Recipe, options: Mapping[str, Any]) -> Handle[Any]:
    """The handle that the recipe gives. Raises UserError for an option that it has not."""
    from ayllu.recipes.limits import check_options

    check_options(recipe, options)
    handle: Handle[Any] = recipe(**options)
    return handle


def find_recipe(recipe: str | Recipe) -> Recipe:
    """The recipe of that name, or the function itself. UserError, with the names, when there is none."""
    if not isinstance(recipe, str):
        if not callable(recipe):
            raise UserError(f"a recipe is a name or a function that returns a handle, and this is {recipe!r:.80}")
        return recipe
    from ayllu.recipes.registry import RECIPES

    return RECIPES.find(recipe)
