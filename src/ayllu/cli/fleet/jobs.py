"""The commands that run things: `ayllu fleet simulate`, `advise` and `launch`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from ayllu.cli.options import Flag, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

launch_app = cyclopts.App(name="launch")


def simulate(
    scenario: str | None = None,
    /,
    *,
    reproduce: bool = False,
    seeds: int | None = None,
    days: float | None = None,
    picture: Path | None = None,
    page: Path | None = None,
    json: Json = False,
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
    """
    from ayllu.cli.fleet import text
    from ayllu.fleet.simulate import scenarios

    value: dict[str, Any]
    lines: Iterable[str]
    if reproduce:
        rows = scenarios.reproduce(seeds)
        value, lines = {"reproduction": rows}, text.reproduction_lines(rows)
    elif scenario is None:
        titles = {each.name: each.title for each in scenarios.scenarios().values()}
        value, lines = {"scenarios": titles}, (f"{name:24} {title}" for name, title in titles.items())
    else:
        value = scenarios.simulate(scenario, seeds=seeds, days=days, picture=picture, page=page)
        lines = text.simulation_lines(value)
    if json:
        print_json(value, indent=2)
    else:
        print_lines(lines)


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
    json: Json = False,
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
    """
    from ayllu.cli.fleet.text import advice_lines
    from ayllu.fleet.advise import advise as advice

    curves = advice(
        run,
        accelerators=accelerators,
        days=days,
        seeds=seeds,
        load=load,
        production_weight=production_weight,
        picture=picture,
    )
    if json:
        print_json({name: curve.as_json() for name, curve in curves.items()}, indent=2)
    else:
        print_lines(advice_lines(curves.values()))


@launch_app.default
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
    queue: Annotated[str | None, Parameter(name=("--queue", "--partition"))] = None,
    account: str | None = None,
    qos: str | None = None,
    sbatch: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)] = (),
    image: str | None = None,
    install: str | None = None,
    restarts: int = 20,
    env: tuple[str, ...] = (),
    folder: Path = Path(),
    dry_run: Flag = False,
    json: Json = False,
) -> None:
    """Start a recipe as a job on this machine, Slurm or Ray, or as written for Kubernetes or SkyPilot.

    A job that its scheduler ends starts again by itself and goes on from its last checkpoint.

    Parameters
    ----------
    recipe
        The recipe, as for `ayllu run`.
    options
        Options of the recipe, after `--`.
    on
        local, slurm or ray; kubernetes and skypilot, of which only the schemas have been tried.
    name
        The job's name; the recipe's by default.
    plan
        A plan (`ayllu fleet plan … --json`): its layout gives the nodes, and goes to the run as AYLLU_LAYOUT; its
        model, batch, length, tokens or budget become options of the recipe.
    choice
        Which of the plan's layouts, from 1.
    nodes
        Machines; 1, or what the plan takes.
    processes_per_node
        Processes on each; one for each accelerator by default.
    accelerators_per_node
        Accelerators on each; without a plan 0, which uses the processors.
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
    account
        Whom Slurm charges.
    qos
        Quality of service (Slurm).
    sbatch
        An option of sbatch, as --sbatch=--constraint=h100; may be given several times.
    image
        Container image (Kubernetes, SkyPilot).
    install
        What pip installs there (SkyPilot): a requirement, a URL, a wheel or a folder; what is installed here by
        default.
    restarts
        How often a job that was killed starts again.
    env
        Variables of the environment, as NAME=VALUE.
    folder
        Where the job works; every node must see it.
    dry_run
        Print the files instead of handing them in.
    """
    from ayllu.fleet.launch import records
    from ayllu.fleet.launch.describe import describe
    from ayllu.recipes.registry import RECIPES

    job = describe(
        recipe,
        known=RECIPES.names(),
        parameters=lambda each: inspect.signature(RECIPES.find(each)).parameters,
        options=options,
        name=name,
        plan=plan,
        choice=choice,
        nodes=nodes,
        processes_per_node=processes_per_node,
        accelerators_per_node=accelerators_per_node,
        variables=env,
        accelerator=accelerator,
        cpus_per_node=cpus_per_node,
        memory_gib=memory_gib,
        hours=hours,
        queue=queue,
        account=account,
        qos=qos,
        directives=sbatch,
        image=image,
        install=install,
        restarts=restarts,
        folder=folder.resolve(),
    )
    _check_options(recipe, job.options)
    if dry_run:
        files = records.prepare(on, job)
        if json:
            print_json({"name": job.name, "on": on, "files": files}, indent=2)
        else:
            print_lines(line for path, text in files.items() for line in (f"# {path}", *text.split("\n")))
        return
    record = records.launch(on, job)
    if json:
        print_json({"name": record.name, "on": on, "id": record.identity, "folder": str(record.folder)}, indent=2)
    else:
        told = f"{record.name} is launched on {on} ({record.identity})"
        print_lines([f"{told}; see `ayllu fleet launch status {record.name}`"])


def _check_options(recipe: str, options: tuple[str, ...]) -> None:
    """Raise UserError where `ayllu run` would refuse these options: hours later, when the job's turn has come."""
    from ayllu.cli.run import app

    try:
        app.parse_args([recipe, *options], exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        told = visible(" ".join(str(error).split()).rstrip("."))
        raise UserError(f"`ayllu run {recipe}` would refuse the options behind `--`: {told}") from None


@launch_app.command
def status(name: str, /, *, folder: Path = Path(), json: Json = False) -> None:
    """Say how a launched job stands: queued, running, finished, failed, cancelled or unknown."""
    from ayllu.fleet.launch import records

    record = records.find(folder.resolve(), name)
    found = record.status()
    value = {"name": name, "on": record.scheduler, "id": record.identity, "state": found.state, "detail": found.detail}
    if json:
        print_json(value, indent=2)
    else:
        detail = f", {found.detail}" if found.detail else ""
        print_lines([f"{name} on {record.scheduler} ({record.identity}): {found.state}{detail}"])


@launch_app.command
def logs(name: str, /, *, folder: Path = Path(), json: Json = False) -> None:
    """Print what a launched job has written so far."""
    from ayllu.fleet.launch import records

    log = records.find(folder.resolve(), name).logs()
    if json:
        print_json({"name": name, "log": log}, indent=2)
    else:
        sys.stdout.write(visible(log, keep="\n\t") if sys.stdout.isatty() else log)


@launch_app.command
def cancel(name: str, /, *, folder: Path = Path(), json: Json = False) -> None:
    """End a launched job for good."""
    from ayllu.fleet.launch import records

    record = records.find(folder.resolve(), name)
    record.cancel()
    if json:
        print_json({"name": name, "on": record.scheduler, "id": record.identity, "cancelled": True}, indent=2)
    else:
        print_lines([f"{name} on {record.scheduler} ({record.identity}) is cancelled"])
