"""`ayllu run`, `why` and `accept`: a command for each recipe, whose options are the recipe's parameters."""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from ayllu.api import running
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.channel import NoSuchName
from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.visible import visible
from ayllu.recipes.registry import RECIPES

Layout = Annotated[
    str, Parameter(help="How training is spread over processes, such as dp_shard=4,tp=2; without it there is one.")
]
Nodes = Annotated[
    int, Parameter(help="Machines that share the work; more than one need torchrun, Slurm or another launcher.")
]
Shared = Annotated[
    str | None,
    Parameter(
        name="--team",
        help="Store that is shared with other machines, a folder or s3://BUCKET/FOLDER; $AYLLU_TEAM when not given.",
    ),
]
Recipe = Callable[..., Any]

# Recipes have no positional arguments, so that an option of several values ends where the next option begins.
SEVERAL = Parameter(consume_multiple=True, negative=())
app = App(name="run", default_parameter=SEVERAL)
why_app = App(name="why", default_parameter=SEVERAL)
accept_app = App(name="accept", default_parameter=SEVERAL)


def run(recipe: Recipe, /, *, layout: Layout = "", nodes: Nodes = 1, team: Shared = None, home: Home = None,
        json: Json = False, **options: Any) -> None:  # fmt: skip
    """Run a recipe, in as many processes as its layout needs, and print what was predicted and measured."""
    from ayllu.fleet.launch.planned_layout import job_layout

    spread = job_layout(layout or None, nodes=nodes)
    if spread is not None:
        from ayllu.train.distributed.launch import processes_missing, start_job

        if processes_missing(spread):
            recipe(**running.placed(options, home))  # refuses what makes no sense, once, before processes are started
            start_job(spread, ["-m", "ayllu.cli", *_without_nodes(sys.argv[1:])], nodes=nodes)
    report = running.run(recipe, home=home, layout=spread, team=team, **options)
    if os.environ.get("RANK", "0") != "0":
        return
    if json:
        print_json(report.as_json())
        return
    for name, expected in report.predicted.items():
        measured = report.measured[name]
        if expected is not None and measured is not None:
            print_lines([f"{name.replace('_', ' ')}: predicted {expected:,.4g}, measured {measured:,.4g}"])
    if not (report.release / "config.json").is_file():
        print_lines([f"made: {report.release}"])
        return
    print_lines(
        [
            f"{'release' if (report.release / 'manifest.json').is_file() else 'private model'}: {report.release}",
            f"Talk to it: ayllu chat {report.channel}, or ayllu serve {report.channel}",
        ]
    )


def why(recipe: Recipe, /, *, home: Home = None, json: Json = False, **options: Any) -> None:
    """Print for each stage of a recipe whether it would run, and what has changed."""
    _print_reasons(recipe.__name__, running.why(recipe, home=home, **options), json)


def _print_reasons(name: str, rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json({"recipe": name, "stages": rows})
        return
    print_lines(f"{row['label']}: {row['state']}: {row['why']}" for row in rows)


def command_for(action: Callable[..., None], recipe: Recipe) -> Callable[..., None]:
    """`action(recipe, …)` as a command: its options are the recipe's parameters and the keywords of `action`."""

    def command(**given: Any) -> None:
        action(recipe, **given)

    def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
        hints = typing.get_type_hints(function, include_extras=True)
        found = inspect.signature(function).parameters.values()
        return [p.replace(annotation=hints[p.name]) for p in found if p.kind is p.KEYWORD_ONLY]

    options = [*parameters(recipe), *parameters(action)]
    command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in options}
    command.__doc__ = inspect.getdoc(recipe)
    return command


def _without_nodes(words: list[str]) -> list[str]:
    """A command line without `--nodes`, which the processes that torchrun starts need not be told."""
    kept = [word for before, word in zip(["", *words], words, strict=False) if "--nodes" not in (before, word)]
    return [word for word in kept if not word.startswith("--nodes=")]


def accept(recipe: Recipe, /, *, home: Home = None, json: Json = False, **options: Any) -> None:
    """Keep the results of a recipe whose code has changed since: say that nothing that matters has."""
    accepted = running.accept(recipe, home=home, **options)
    if json:
        print_json({"recipe": recipe.__name__, "accepted": accepted})
        return
    print_lines(f"{stage}: accepted" for stage in accepted)
    if not accepted:
        print_lines(["nothing to accept: no kept result was made by other code"])


@why_app.default
def why_name(name: str, /, *, home: Home = None, json: Json = False) -> None:
    """Say for each stage behind a release or model whether it would run: a recipe's own command takes its options.

    Parameters
    ----------
    name
        What a recipe or `ayllu adopt` called it.
    """
    try:
        rows = running.why(name, home=home)
    except NoSuchName as error:
        said, known = visible(name, longest=80), ", ".join(RECIPES.names())
        raise UserError(f"there is no recipe {said!r}; choose one of {known}; and {error}") from None
    _print_reasons(name, rows, json)


def _add_recipes() -> None:
    """Make each recipe a command of `run`, `why` and `accept`; one that cannot be loaded stops no other."""
    for name in RECIPES.names():
        try:
            recipe = RECIPES.find(name)
        except UserError as error:
            say(f"ayllu: {error}")
            continue
        for group, action in ((app, run), (why_app, why), (accept_app, accept)):
            group.command(command_for(action, recipe), name=name)


_add_recipes()
