"""`ayllu assist tasks` and `ayllu assist replay`: how well a model uses its tools."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.api.home import find_home
from ayllu.cli.interrupt import run_async
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.assistant.models.driver import Driver
    from ayllu.assistant.tasks.task import Task
    from ayllu.assistant.tools.tool import RunnableTool


def tasks(
    *,
    model: str = "cria",
    tasks: Literal["everyday", "drawn", "steps", "dev"] = "everyday",
    seed: int | None = None,
    faults: Flag = False,
    out: Path | None = None,
    most: int | None = None,
    engine: str = "auto",
    guide: Literal["auto", "yes", "no"] = "auto",
    home: Home = None,
    json: Json = False,
) -> None:
    """Measure how many everyday tasks a model does with its tools.

    Parameters
    ----------
    model
        A model's name or folder, or the URL of a server that speaks OpenAI's API.
    tasks
        everyday (50 tasks of one tool), drawn (50 like them, by a seed), steps (10 of several) or dev (16 to develop
        with).
    seed
        What draws the tasks: the one that is written down unless given.
    faults
        Let the first call of each tool go wrong: an error, a time-out, a crash or malformed output.
    out
        Folder for traces and outcomes; what is there already is not run again.
    most
        Run only so many.
    engine
        What computes the answers of a local model.
    guide
        Whether calls are guided: auto, yes or no.
    """
    from ayllu.assistant.tasks.sets import load_tasks

    chosen = load_tasks(tasks, seed=seed)[:most]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    found = run_async(_measured(model, chosen, find_home(home), out, faults, engine, guide))
    value = {"model": found.pop("model"), "set": tasks, "faults": bool(faults), **found}
    if json:
        print_json(value)
        return
    low, high = value["interval"]
    print_lines(
        [f"{value['model']}: {value['done']} of {value['tasks']} {tasks} tasks done, {low:.0%} to {high:.0%}"]
        + [f"{name}: {why}" for name, why in value["failures"].items()]
    )


def injections(
    *,
    model: str | None = None,
    most: int | None = None,
    engine: str = "auto",
    guide: Literal["auto", "yes", "no"] = "auto",
    home: Home = None,
    json: Json = False,
) -> int:
    """Measure the guard against prompt injection: how many attacks get something done without the user's approval.

    A model that always obeys stands for the worst, with the gate and without it; ends with 1 if anything got through.

    Parameters
    ----------
    model
        Attack this model too, and not only the one that always obeys.
    most
        Only about so many attacks, of all languages and ways.
    engine
        What computes the answers of a local model.
    guide
        Whether calls are guided: auto, yes or no.
    """
    from ayllu.assistant.injections.attack import Attack
    from ayllu.assistant.injections.suite import measured
    from ayllu.assistant.models.guided import GuidedDriver
    from ayllu.assistant.models.open import SMALL, open_driver

    drivers = None
    if model is not None:
        inner = open_driver(model, (), home=find_home(home), engine=engine, guide="no")
        guided = guide == "yes" or (guide == "auto" and getattr(inner, "parameters", SMALL) < SMALL)

        def drivers(tools: Sequence[RunnableTool], attack: Attack) -> Driver:
            return GuidedDriver(inner, tools) if guided else inner

    found = measured(drivers, most)
    runs = {"a model that always obeys": found, **({"the model": found["model"]} if model is not None else {})}
    got_through = sum(run["after"]["side_effects_without_approval"] for run in runs.values())
    if json:
        print_json(found)
    else:
        lines = []
        for name, run in runs.items():
            before, after = run["before"], run["after"]
            lines.append(
                f"{name}: {before['succeeded']} of {found['attacks']} attacks succeed without the gate, "
                f"{after['succeeded']} with it"
            )
        cost = found["utility"]
        lines.append(f"everyday tasks: {cost['lost_points']:g} points lost, {cost['questions']} questions")
        print_lines(lines)
    return 1 if got_through else 0


def replay(file: Path, /, *, json: Json = False) -> int:
    """Run the loop again on a trace, without the model and the tools; ends with 1 where something comes out otherwise.

    Parameters
    ----------
    file
        A trace, as --trace and `ayllu assist tasks --out` write them.
    """
    from ayllu.assistant.trace import read_trace
    from ayllu.assistant.trace import replay as replayed
    from ayllu.serve.state.choose import open_store

    trace = read_trace(file)
    with tempfile.TemporaryDirectory() as place:
        store = open_store(None, home=Path(place))
        assert store is not None
        try:
            differences = run_async(replayed(trace, store))
        finally:
            store.close()
    if json:
        print_json({"steps": len(trace.steps), "differences": differences})
    else:
        print_lines(differences or [f"{len(trace.steps)} steps came out as they were"])
    return 1 if differences else 0


def approve(*trace: Path, revoke: Flag = False, json: Json = False) -> None:
    """Let models learn from traces (`ayllu run smol --traces`): nothing is learnt from those that you did not approve.

    Parameters
    ----------
    trace
        Traces, or folders of them.
    revoke
        Take it back.
    """
    from ayllu.assistant.lessons import approve as approved
    from ayllu.assistant.lessons import trace_files

    if not trace:
        raise UserError("no trace is named; give some, or a folder of them")
    files = [file for path in trace for file in trace_files(path)]
    for file in files:
        approved(file, approved=not revoke)
    if json:
        print_json({"traces": [str(file) for file in files], "approved": not revoke})
    else:
        print_lines([f"{file}: {'not ' if revoke else ''}approved" for file in files])


async def _measured(
    model: str,
    chosen: Sequence[Task],
    home: Path,
    out: Path | None,
    faults: bool,
    engine: str,
    guide: Literal["auto", "yes", "no"],
) -> dict[str, Any]:
    from ayllu.assistant.models.guided import GuidedDriver
    from ayllu.assistant.models.open import SMALL, open_driver
    from ayllu.assistant.tasks.faults import faulty
    from ayllu.assistant.tasks.run import run_tasks, summary

    inner = open_driver(model, (), home=home, engine=engine, guide="no")
    small = getattr(inner, "parameters", SMALL) < SMALL
    guided = guide == "yes" or (guide == "auto" and small)

    def driver(tools: Sequence[RunnableTool], task: Task) -> Driver:
        return GuidedDriver(inner, tools) if guided else inner

    try:
        outcomes = await run_tasks(chosen, driver, out=out, wrap=faulty if faults else None)
    finally:
        await inner.close()
    return {"model": inner.name, "guided": guided, **summary(outcomes)}
