"""The `ayllu` command."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cyclopts
from cyclopts import App, Parameter

import ayllu
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import say

app = App(
    name="ayllu",
    version=ayllu.__version__,
    help="An open general-intelligence lab: from raw text to a model that is measured, released with proof and served.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
)
run_app = App(name="run", help="Run a recipe: every stage that is not there yet, from where a killed run stopped.")
app.command(run_app)


def _home(home: Path | None) -> Path:
    from ayllu.lab.store import default_home

    return home.expanduser().absolute() if home else default_home()


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _run(
    recipe: Callable[..., Any], arguments: dict[str, Any], home: Path | None, as_json: bool, layout: str, nodes: int
) -> None:
    from ayllu.data.archive import default_cache
    from ayllu.lab.channel import promote
    from ayllu.lab.run import Place, resolve
    from ayllu.lab.store import Store

    began = time.monotonic()
    handle = recipe(**arguments)  # refuses what makes no sense, before processes are started
    spread = _layout(layout, nodes)
    store = Store(_home(home))
    rank = int(os.environ.get("RANK", "0"))
    made = resolve(handle, Place(store=store, cache=default_cache(), layout=spread, rank=rank))
    if rank > 0:
        return
    result = made[handle]
    channel = str(arguments.get("name", recipe.__name__))
    promote(store, channel, result.folder)
    scores: dict[str, float] = next(
        (a.record["bits_per_byte"] for node, a in made.items() if node.stage.name in ("evaluate", "heldout")), {}
    )
    report = {
        "recipe": recipe.__name__,
        "release": str(result.folder / "release"),
        "channel": channel,
        "predicted": result.record["predicted"],
        "measured": result.record["measured"],
        "bits_per_byte": scores,
        "final_loss": result.record.get("pretraining", {}).get("final_loss"),
        "stages": {node.stage.name: str(artifact.folder) for node, artifact in made.items()},
        "seconds": round(time.monotonic() - began, 1),
    }
    if as_json:
        _print(report)
        return
    for name, expected in report["predicted"].items():
        measured = report["measured"][name]
        if expected is not None and measured is not None:
            sys.stdout.write(f"{name.replace('_', ' ')}: predicted {expected:,.4g}, measured {measured:,.4g}\n")
    sys.stdout.write(f"release: {report['release']}\nTalk to it: ayllu chat {channel}, or ayllu serve {channel}\n")


def _layout(text: str, nodes: int) -> Any:
    """The layout of this process's job; None for one process. Starts the job's processes where they are missing.

    A job that `ayllu fleet launch --plan` started finds its layout in the environment.
    """
    from ayllu.fleet.launch.planned_layout import LAYOUT_VARIABLE, layout_from_words

    planned = os.environ.get(LAYOUT_VARIABLE)
    if not text and not planned:
        if nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("many processes need to be told how to share the work; add --layout, such as dp_shard=8")
        return None
    from ayllu.train.distributed.layout import parse_layout

    layout = parse_layout(text) if text else layout_from_words(planned or "")
    if "RANK" in os.environ or layout.devices == 1:
        return layout
    if layout.devices % nodes:
        raise UserError(f"the layout's {layout.devices} devices cannot be shared by {nodes} nodes; change one of them")
    if nodes > 1:
        words = " ".join(word for word in sys.argv[1:] if not word.startswith("--nodes"))
        torchrun = f"torchrun --nnodes {nodes} --nproc-per-node {layout.devices // nodes} --rdzv-backend c10d"
        raise UserError(
            f"one command starts one node's processes: on each of the {nodes} nodes run `{torchrun} "
            f"--rdzv-endpoint FIRST-NODE:29500 -m ayllu.cli {words}`, or let `ayllu fleet launch` do it"
        )
    # torchrun takes this process's place, brings its processes together and starts those again that die.
    started = [
        "--standalone",
        f"--nproc-per-node={layout.devices}",
        "--max-restarts=3",
        "-m",
        "ayllu.cli",
        *sys.argv[1:],
    ]
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // layout.devices, 1)))
    return os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", *started])


def _add_recipe(name: str, recipe: Callable[..., Any]) -> None:
    """Make a recipe a command: its parameters, and where to keep things."""

    @functools.wraps(recipe)
    def command(**given: Any) -> None:
        home, as_json = given.pop("home", None), given.pop("json", False)
        _run(recipe, given, home, as_json, given.pop("layout", ""), given.pop("nodes", 1))

    hints = typing.get_type_hints(recipe)
    signature = inspect.signature(recipe)
    more = {"layout": (str, ""), "nodes": (int, 1), "home": (Path | None, None), "json": (bool, False)}
    extra = [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, (a, d) in more.items()
    ]
    own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=[*own, *extra], return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
    command.__doc__ = (
        (inspect.getdoc(recipe) or "")
        + "\nlayout\n    How training is spread over processes, such as dp_shard=4,tp=2; without it there is one."
        + "\nnodes\n    Machines that share the work; more than one need torchrun, Slurm or another launcher."
        + "\nhome\n    Folder for artifacts; $AYLLU_HOME or ~/.local/share/ayllu when not given."
        + "\njson\n    Print one JSON object on stdout."
    )
    del command.__wrapped__
    run_app.command(command, name=name)


def _add_recipes() -> None:
    from ayllu.recipes import RECIPES

    for name, recipe in RECIPES.items():
        _add_recipe(name, recipe)


@app.command
def why(recipe: str, /, *, home: Path | None = None, budget: float = 10.0, seed: int = 0, json: bool = False) -> None:
    """Say for each stage of a recipe whether it would run, and what has changed.

    Parameters
    ----------
    recipe
        Name of the recipe.
    home
        Folder for artifacts.
    budget
        The recipe's budget in minutes.
    seed
        The recipe's seed.
    json
        Print one JSON object on stdout.
    """
    from ayllu.data.archive import default_cache
    from ayllu.lab.run import Place, explain
    from ayllu.lab.store import Store
    from ayllu.recipes import RECIPES

    if recipe not in RECIPES:
        raise UserError(f"there is no recipe {recipe!r}; choose one of {', '.join(RECIPES)}")
    handle = RECIPES[recipe](budget=budget, seed=seed)
    rows = explain(handle, Place(store=Store(_home(home)), cache=default_cache()))
    if json:
        _print({"recipe": recipe, "stages": rows})
        return
    for row in rows:
        sys.stdout.write(f"{row['stage']}: {row['state']}: {row['why']}\n")


@app.command
def chat(
    model: str = "cria",
    /,
    *,
    message: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    home: Path | None = None,
    json: bool = False,
) -> None:
    """Talk to a model in the terminal.

    Parameters
    ----------
    model
        A release folder, or the name that a recipe gave it.
    message
        Say this, print the answer and leave.
    system
        What the model is told before the conversation.
    temperature
        0 always takes the likeliest word; higher is livelier. The model recommends a value when it is not given.
    top_p
        Words beyond this cumulative probability are never taken.
    seed
        The same seed gives the same answers.
    home
        Folder for artifacts.
    json
        With --message: print one JSON object on stdout.
    """
    from ayllu.lab.channel import find_model
    from ayllu.model.generate import Sampling
    from ayllu.serve.terminal import chat_terminal

    given = {"temperature": temperature, "top_p": top_p, "seed": seed}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        sampling = Sampling(**chosen) if chosen else None
    except ValueError as error:
        raise UserError(f"{error}; change the option") from error
    folder = find_model(model, _home(home))
    answer = chat_terminal(folder, message=message, system=system, sampling=sampling, json=json)
    if json:
        _print(answer)


@app.command
def serve(
    model: str = "cria",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    home: Path | None = None,
) -> None:
    """Serve a model: a chat page, and an API that OpenAI's clients speak.

    Parameters
    ----------
    model
        A release folder, or the name that a recipe gave it.
    host
        Address to listen on; other machines can reach it when it is not a loopback address.
    port
        Port to listen on.
    open_browser
        Open the page.
    home
        Folder for artifacts.
    """
    from ayllu.lab.channel import find_model
    from ayllu.serve.server import serve as serve_model

    serve_model(find_model(model, _home(home)), host=host, port=port, open_browser=open_browser)


@app.command
def adopt(
    source: str,
    /,
    *,
    name: str | None = None,
    licence: str | None = None,
    home: Path | None = None,
    json: bool = False,
) -> None:
    """Make an open model of the Llama architecture yours: weights, tokenizer, chat template, licence and origin.

    Parameters
    ----------
    source
        smollm2, a GGUF file, a folder of Hugging Face's or Meta's kind, or OWNER/NAME[@REVISION] on the hub.
    name
        What to call the model in other commands; the source's own name when not given.
    licence
        The model's licence (SPDX identifier), where the source states none.
    home
        Folder for artifacts.
    json
        Print one JSON object on stdout.
    """
    from ayllu.recipes.adopt import adopt as adopt_model

    began = time.monotonic()
    model = adopt_model(source, name=name, licence=licence, home=_home(home))
    report = {"name": model.name, "folder": str(model.folder), **model.facts(), "seconds": time.monotonic() - began}
    if json:
        _print(report)
        return
    sys.stdout.write(f"{report['title']}: {report['parameters']:,} parameters, licence {report['licence']}\n")
    sys.stdout.write(f"Talk to it: ayllu chat {model.name}, or ayllu serve {model.name}\n")


@app.command
def export(
    model: str,
    /,
    *,
    to: typing.Literal["hf", "gguf", "meta"],
    out: Path,
    dtype: typing.Literal["F32", "F16", "BF16", "Q8_0"] | None = None,
    home: Path | None = None,
    json: bool = False,
) -> None:
    """Write a model as the files of another program.

    Parameters
    ----------
    model
        The name of a model, or a folder of weights.
    to
        hf (a Hugging Face folder), gguf (llama.cpp) or meta (consolidated.00.pth and params.json).
    out
        Folder to write; it must be new or empty.
    dtype
        Type of the matrices; as they are stored when not given. Q8_0 only goes into GGUF.
    home
        Folder for artifacts.
    json
        Print one JSON object on stdout.
    """
    from ayllu.lab.channel import find_model
    from ayllu.release.export import export as export_model

    folder = find_model(model, _home(home))
    files = export_model(folder, to, out.expanduser().absolute(), dtype=dtype)
    if json:
        _print({"model": model, "to": to, "out": str(out.expanduser().absolute()), "files": files})
        return
    sys.stdout.write(f"{out}: {', '.join(files)}\n")


@app.command
def layout(model: str, layout: str, /, *, json: bool = False) -> None:
    """Try a layout: spread a model as training would, without memory, and tell what each process holds.

    Parameters
    ----------
    model
        A model by name, such as llama-3.1-405b, or a folder with a config.json.
    layout
        How it is spread, such as tp=8,pp=16,dp_shard=128.
    json
        Print one JSON object on stdout.
    """
    from dataclasses import asdict

    from ayllu.model.files.hf import load_config
    from ayllu.model.presets import PRESETS
    from ayllu.train.distributed.layout import parse_layout
    from ayllu.train.placement import holdings, table

    config = PRESETS[model] if model in PRESETS else load_config(Path(model))
    spread = parse_layout(layout)
    found = holdings(config, spread)
    if json:
        _print({"model": model, "devices": spread.devices, "stages": [asdict(h) | {"total": h.total} for h in found]})
        return
    sys.stdout.write(f"{model} over {spread.devices:,} processes, the first of each pipeline stage\n{table(found)}\n")


def _mount() -> None:
    from ayllu.cli.evals import app as eval_app
    from ayllu.cli.fleet import app as fleet_app
    from ayllu.cli.fleet_jobs import add_commands
    from ayllu.cli.release import app as release_app
    from ayllu.fleet.planner.training_job import know_recipes
    from ayllu.recipes import RECIPES
    from ayllu.recipes.planned import PLANNED

    add_commands(fleet_app, RECIPES)
    know_recipes(PLANNED)
    for part in (eval_app, release_app, fleet_app):
        app.command(part)
    _add_recipes()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 2 for a problem that the user can solve, 130 when interrupted."""
    # Threads that wait in a loop for each other are eight times slower as soon as another program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _mount()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        say(f"ayllu: {_sentence(error)}")
        sys.exit(2)
    except Stopped as stopped:
        say(f"ayllu: {stopped}")
        sys.exit(0)
    except UserError as error:
        say(f"ayllu: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        say("\nayllu: interrupted; start it again to go on")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: cyclopts.CycloptsError) -> str:
    """A command-line mistake in one line, with where to look."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{text}; see `ayllu --help`"
