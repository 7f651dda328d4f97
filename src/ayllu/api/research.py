"""Research by many runs: ladders of sizes, sweeps of options, and experiments kept as files."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ayllu.api.home import open_place
from ayllu.api.running import Recipe, find_recipe
from ayllu.lab.error import UserError


def scale(recipe: str, /, *, home: Path | str | None = None, **options: Any) -> dict[str, Any]:
    """Climb the ladder of sizes of a recipe (cria): what is not there yet is trained, from where a killed run stopped.

    What comes back holds `fit` (the law of all rungs but the largest), `predicted` (of the largest, made before it was
    trained), `measured`, `error_pct`, `inside`, `points` and `folder`, where scaling.png is. Raises UserError for a
    recipe without a ladder, and for options that cannot be.
    """
    from ayllu.lab.run import resolve
    from ayllu.lab.visible import visible
    from ayllu.recipes.limits import check_options
    from ayllu.recipes.registry import command_of
    from ayllu.recipes.scaling.scale import LADDERS

    if recipe not in LADDERS:
        known = ", ".join(LADDERS)
        raise UserError(f"{visible(recipe, longest=80)!r} has no ladder of sizes; recipes that have one: {known}")
    check_options(LADDERS[recipe], options)
    handle = LADDERS[recipe](**options)
    command = command_of(recipe, options).replace("ayllu run", "ayllu scale", 1)
    made = resolve(handle, open_place(home, command=command, title=f"scale {recipe}"))
    return {**handle.stage.makes(made[handle].folder), "folder": str(made[handle].folder)}


def sweep(
    recipe: str | Recipe,
    /,
    *,
    vary: Sequence[str],
    search: Literal["grid", "random", "halving"] = "grid",
    trials: int = 20,
    seeds: int = 3,
    heldout: int = 400,
    part: str | None = None,
    workers: int = 0,
    on: Literal["local", "slurm", "ray"] = "local",
    queue: str | None = None,
    home: Path | str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Pretrain with other options, trial by trial, measure each on held-out text, and the best with further seeds.

    `vary` is what `ayllu sweep --set` takes, such as ("lr=0.005,0.01", "width=64..256:64"); `options` stay the same.
    `heldout` is how many documents are measured. What comes back is the record that docs/lab.md describes; it is kept
    in the home, and the same call goes on after a kill. So many `workers` train trials side by side first, as jobs `on`
    this machine or a scheduler's `queue`, all of which must see the home. With a `part`, such as "2/8", only those
    trials are trained, and `{"part", "trials", "failed"}` comes back. Raises UserError for what cannot be varied or
    measured.
    """
    from ayllu.recipes.registry import command_of
    from ayllu.recipes.sweeping.axes import read_axes
    from ayllu.recipes.sweeping.search import count
    from ayllu.recipes.sweeping.sweep import Part, Sweep, check, run_part, run_sweep
    from ayllu.recipes.sweeping.workers import Workers, train_ahead

    function = find_recipe(recipe)
    name = getattr(function, "__name__", "recipe")
    axes = read_axes(function, vary, options)
    told = {"search": search, "trials": trials, "seeds": seeds, "heldout": heldout}
    usual = inspect.signature(sweep).parameters
    unusual = [word for n, v in told.items() if v != usual[n].default for word in option_words(n, v)]
    words = ["--set", *map(shlex.quote, vary), *unusual]
    command = " ".join([command_of(name, options).replace("ayllu run", "ayllu sweep", 1), *words])
    asked = Sweep(
        name=name,
        recipe=function,
        options=options,
        axes=axes,
        method=search,
        trials=trials,
        seeds=seeds,
        seed=int(options.get("seed", 0)),
        documents=heldout,
    )
    if part is not None and workers:
        raise UserError("a part is what one of the workers does; leave out --part or --workers")
    if not workers and (on != "local" or queue is not None):
        raise UserError("where workers start is told, and not how many; give --workers as well")
    place = open_place(home, command=command)
    if part is not None:
        number, slash, of = part.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal()):
            raise UserError(f"{part!r} is no part of a sweep; write it as 2/8")
        trained, failed = run_part(asked, place, Part(number=int(number), of=int(of)))
        return {"part": part, "trials": trained, "failed": failed}
    if workers:
        if "speed" in inspect.signature(function).parameters and options.get("speed") is None:
            raise UserError(
                "workers slow each other down, and a budget of minutes would count it; give --speed as well"
            )
        given = {"set": tuple(vary), "search": search, "trials": trials, "heldout": heldout, **options}
        words = [word for n, v in given.items() for word in option_words(n, v)]
        check(asked)  # what is refused starts no job
        most = Workers(count=min(workers, count(search, axes, trials)), on=on, queue=queue)
        team = place.team.objects.url if place.team is not None else None
        train_ahead(name, words, place.store.home, most, sweep=asked.id, team=team)
    return run_sweep(asked, place)


def option_words(name: str, value: Any) -> list[str]:
    """An option as a command line says it; nothing for None."""
    option = f"--{name.replace('_', '-')}"
    if value is None:
        return []
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    return [option, *map(str, value if isinstance(value, tuple | list) else [value])]


def experiment(
    name: str | Path, /, *, folder: Path | str = "experiments", home: Path | str | None = None
) -> dict[str, Any]:
    """Run an experiment's file, by its path, number or name in `folder`: both arms with every seed, then the verdict.

    What comes back is its record (docs/lab.md); the result is also written into the file. Raises UserError for a file
    that cannot be run, and where what it asks has changed since it was answered.
    """
    from ayllu.recipes.sweeping.experiment import find, run

    path = find(str(name), Path(folder))
    return run(path, open_place(home, command=f"ayllu experiment run {path.name}"))
