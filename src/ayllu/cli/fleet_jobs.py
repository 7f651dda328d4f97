"""The commands that run things: `ayllu fleet simulate`, `advise` and `launch`."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

KNOWN_RECIPES: set[str] = set()
"""Names that `ayllu run` takes, told by `add_commands`: a mistyped one must not wait in a queue first."""


def add_commands(app: cyclopts.App, recipes: Iterable[str] = ()) -> None:
    """Add the commands of this file to the `fleet` command. Without `recipes` any name is launched."""
    KNOWN_RECIPES.update(recipes)
    app.command(simulate)
    app.command(advise)
    launcher = cyclopts.App(name="launch")
    launcher.default(launch)
    for command in (status, logs, cancel):
        launcher.command(command)
    app.command(launcher)


def _print_json(value: Any) -> None:
    sys.stdout.write(json_module.dumps(value, indent=2) + "\n")


def simulate(
    scenario: str | None = None,
    /,
    *,
    reproduce: bool = False,
    seeds: int | None = None,
    days: float | None = None,
    picture: Path | None = None,
    page: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Simulate a run or a fleet from its first day to its last.

    Parameters
    ----------
    scenario
        A scenario's name, or a .json file that describes a run; without it the names are listed.
    reproduce
        Print every published figure beside the simulated one.
    seeds
        Simulate so many times; the interval is over these.
    days
        For a fleet's year: how many days of it.
    picture
        For a fleet's year: write its picture to this PNG file.
    page
        For a fleet's year: write its picture to this HTML file.
    json
        Print one JSON object.
    """
    from ayllu.fleet.simulate import scenarios

    if reproduce:
        rows = scenarios.reproduce(seeds)
        if json:
            _print_json({"reproduction": rows})
        else:
            _print_rows(rows)
    elif scenario is None:
        known = {s.name: s.title for s in scenarios.scenarios().values()}
        if json:
            _print_json({"scenarios": known})
        else:
            _print_lines(f"{name:24} {title}" for name, title in known.items())
    else:
        chosen = scenarios.find(scenario)
        if days is None and picture is None and page is None:
            result = scenarios.play(chosen, seeds)
        else:
            result = scenarios.play_year(chosen, days=days, seeds=seeds, picture=picture, page=page)
        if json:
            _print_json(result)
        else:
            _print_result(result)


def _told(value: float) -> str:
    """Four figures, and no exponent where the digits do."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"


def _print_lines(lines: Any) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    header = f"{'scenario':20} {'figure':48} {'published':>10} {'simulated':>10}   95 % of runs"
    _print_lines([header])
    for row in rows:
        bound = ">" if row["expected_is_lower_bound"] else " "
        low, high = row["interval"]
        _print_lines(
            [
                f"{row['scenario']:20.20} {row['figure']:48.48} {bound}{row['expected']:>9.4g} "
                f"{row['simulated']:>10.4g}   {low:.4g} to {high:.4g}"
            ]
        )


def _print_result(result: dict[str, Any]) -> None:
    _print_lines([result["title"], ""])
    for name, value in result.items():
        if isinstance(value, dict) and "mean" in value:
            low, high = value["interval"]
            _print_lines(
                [f"  {name.replace('_', ' '):36} {value['mean']:>12,.4g}   95 % of runs {low:,.4g} to {high:,.4g}"]
            )
    if result["reproduction"]:
        _print_lines([""])
        _print_rows([{"scenario": result["scenario"], **row} for row in result["reproduction"]])
    _print_lines(["", "Inputs:"])
    _print_lines(f"  {item['name']:24} {item['value']:36} {item['source']}" for item in result["inputs"])
    _print_lines(["", *result["notes"]] if result["notes"] else [])


def advise(
    run: Path | None = None,
    /,
    *,
    accelerators: int = 16_384,
    days: float = 30,
    seeds: int = 10,
    load: float = 1.25,
    production_weight: float = 0.5,
    picture: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Advise how often to save, how many spare nodes to keep, and how to divide a fleet between two queues.

    Parameters
    ----------
    run
        A .json file that describes the run (as for `simulate`); without it, a run of `accelerators` for `days`.
    accelerators
        Size of the run, and of the fleet to be divided.
    days
        Length of the run.
    seeds
        Simulate every choice so many times.
    load
        Jobs for the division: 1 asks for 84 % of the fleet; while it is not full, any division will do.
    production_weight
        How much production's slowdown counts in the division, research's being the rest of 1.
    picture
        Draw the curves into this .png or .svg file.
    json
        Print one JSON object.
    """
    from ayllu.fleet import advise as advice
    from ayllu.fleet.simulate.failures import Hazard, pooled_rate
    from ayllu.fleet.simulate.scenarios import read_run
    from ayllu.fleet.simulate.training_run import TrainingRun
    from ayllu.lab.error import UserError

    if not 1 <= seeds <= 1000:
        raise UserError(f"seeds is {seeds}; it must lie between 1 and 1,000")
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise UserError(f"{picture}: the name must end in .png or .svg")
    if run is None:
        rate = pooled_rate(without="").per_1000_node_days
        described = TrainingRun(accelerators=accelerators, days=days, hazard=Hazard(per_1000_node_days=rate))
    else:
        described = read_run(run)
    fleet = advice.quota_cluster(described.accelerators)
    curves = {
        "checkpoint_interval": advice.checkpoint_interval(described, seeds=seeds),
        "spare_nodes": advice.spare_nodes(described, seeds=seeds),
        "research_quota": advice.research_quota(fleet, load=load, production_weight=production_weight),
    }
    if picture is not None:
        advice.draw(list(curves.values()), f"Advice for {described.accelerators:,} accelerators", picture)
    if json:
        _print_json({name: curve.as_json() for name, curve in curves.items()})
        return
    for curve in curves.values():
        low, high = curve.near
        _print_lines([f"{curve.question}: {curve.best:,.3g} {curve.unit} ({low:,.3g} to {high:,.3g} are as good)"])
        _print_lines(f"    {name.replace('_', ' '):32} {_told(value)}" for name, value in curve.checks.items())


def launch(
    recipe: str,
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True)],
    on: str = "local",
    name: str | None = None,
    plan: Path | None = None,
    choice: int = 1,
    nodes: int | None = None,
    processes_per_node: int | None = None,
    accelerators_per_node: int | None = None,
    accelerator: str | None = None,
    cpus_per_node: int | None = None,
    memory_gib: int | None = None,
    hours: float | None = None,
    queue: str | None = None,
    image: str | None = None,
    restarts: int = 20,
    env: tuple[str, ...] = (),
    folder: Path = Path(),
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Start a recipe as a job on this machine, Slurm, Kubernetes, Ray or SkyPilot.

    A job that its scheduler ends starts again by itself and goes on from its last checkpoint.

    Parameters
    ----------
    recipe
        The recipe, as for `ayllu run`.
    options
        Options of the recipe, after `--`.
    on
        local, slurm, kubernetes, ray or skypilot.
    name
        The job's name; the recipe's by default.
    plan
        A plan (`ayllu fleet plan … --json`): its layout gives the nodes, and goes to the run as AYLLU_LAYOUT.
    choice
        Which of the plan's layouts, from 1.
    nodes
        Machines; 1, or what the plan takes.
    processes_per_node
        Processes on each; one for each accelerator by default.
    accelerators_per_node
        Accelerators on each; without a plan 0, which uses the processors, with one at most 8.
    accelerator
        Kind of accelerator (SkyPilot).
    cpus_per_node
        Processor cores on each.
    memory_gib
        Memory on each, in GiB.
    hours
        Time limit, after which the job is queued again.
    queue
        Partition (Slurm) or local queue (Kueue).
    image
        Container image (Kubernetes, SkyPilot).
    restarts
        How often a job that was killed starts again.
    env
        Variables of the environment, as NAME=VALUE.
    folder
        Where the job works; every node must see it.
    dry_run
        Print the files instead of handing them in.
    json
        Print one JSON object.
    """
    from ayllu.fleet.launch import records
    from ayllu.fleet.launch.batch_job import BatchJob
    from ayllu.lab.error import UserError

    if KNOWN_RECIPES and recipe not in KNOWN_RECIPES:
        raise UserError(f"there is no recipe {recipe!r}; choose one of {', '.join(sorted(KNOWN_RECIPES))}")
    environment = dict(pair.split("=", 1) for pair in env if "=" in pair)
    if len(environment) != len(env):
        raise UserError("launch: give every --env once, as NAME=VALUE")
    if plan is not None:
        from ayllu.fleet.launch.planned_layout import LAYOUT_VARIABLE, layout_words, nodes_of, read_layout

        if nodes is not None:
            raise UserError("launch: the plan says how many nodes; leave out --nodes or --plan")
        layout = read_layout(plan, choice)
        accelerators_per_node = accelerators_per_node or min(layout.devices, 8)
        nodes = nodes_of(layout, accelerators_per_node)
        environment[LAYOUT_VARIABLE] = layout_words(layout)
    accelerators = accelerators_per_node or 0
    job = BatchJob(
        recipe=recipe,
        name=name or recipe.rpartition("/")[2].removesuffix(".py").replace("_", "-").lower(),
        folder=folder.resolve(),
        options=options,
        nodes=1 if nodes is None else nodes,
        processes_per_node=max(accelerators, 1) if processes_per_node is None else processes_per_node,
        accelerators_per_node=accelerators,
        accelerator=accelerator,
        cpus_per_node=cpus_per_node,
        memory_gib=memory_gib,
        hours=hours,
        queue=queue,
        image=image,
        restarts=restarts,
        environment=environment,
    )
    if dry_run:
        files = records.prepare(on, job)
        if json:
            _print_json({"name": job.name, "on": on, "files": files})
        else:
            _print_lines(f"# {path}\n{text}" for path, text in files.items())
        return
    record = records.launch(on, job)
    if json:
        _print_json({"name": record.name, "on": on, "id": record.identity, "folder": str(record.folder)})
    else:
        _print_lines(
            [f"{record.name} is launched on {on} ({record.identity}); see `ayllu fleet launch status {record.name}`"]
        )


def status(name: str, /, *, folder: Path = Path(), json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Say how a launched job stands: queued, running, finished, failed, cancelled or unknown."""
    from ayllu.fleet.launch import records

    record = records.find(folder.resolve(), name)
    found = record.status()
    if json:
        _print_json(
            {"name": name, "on": record.scheduler, "id": record.identity, "state": found.state, "detail": found.detail}
        )
    else:
        _print_lines(
            [
                f"{name} on {record.scheduler} ({record.identity}): {found.state}"
                + f", {found.detail}" * bool(found.detail)
            ]
        )


def logs(name: str, /, *, folder: Path = Path(), json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Print what a launched job has written so far."""
    from ayllu.fleet.launch import records

    text = records.find(folder.resolve(), name).logs()
    if json:
        _print_json({"name": name, "log": text})
    else:
        sys.stdout.write(text)


def cancel(name: str, /, *, folder: Path = Path(), json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """End a launched job for good."""
    from ayllu.fleet.launch import records

    record = records.find(folder.resolve(), name)
    record.cancel()
    if json:
        _print_json({"name": name, "on": record.scheduler, "id": record.identity, "cancelled": True})
    else:
        _print_lines([f"{name} on {record.scheduler} ({record.identity}) is cancelled"])
