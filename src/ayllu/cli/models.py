"""Commands for models: `ayllu chat`, `adopt`, `export` and `layout`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Literal

from ayllu.api import find_home
from ayllu.cli.options import Home, Json, print_json
from ayllu.lab.error import UserError


def chat(
    model: str = "cria",
    /,
    *,
    message: str | None = None,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Talk to a model in the terminal.

    Parameters
    ----------
    model
        A release folder, or the name that a recipe gave it.
    message
        Say this, print the answer and leave; --json needs it, or a message on stdin.
    system
        What the model is told before the conversation.
    temperature
        0 always takes the likeliest word; higher is livelier. The model recommends a value when it is not given.
    top_p
        Words beyond this cumulative probability are never taken.
    seed
        The same seed gives the same answers.
    json
        With --message: print one JSON object on stdout.
    """
    from ayllu.cli.chat import chat_terminal
    from ayllu.lab.channel import find_model
    from ayllu.model.generate import Sampling

    given = {"temperature": temperature, "top_p": top_p, "seed": seed}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        sampling = Sampling(**chosen) if chosen else None
    except ValueError as error:
        raise UserError(f"{error}; change the option") from error
    folder = find_model(model, find_home(home))
    answer = chat_terminal(folder, message=message, system=system, sampling=sampling, json=json)
    if json:
        print_json(answer)


def adopt(
    source: str,
    /,
    *,
    name: str | None = None,
    licence: str | None = None,
    home: Home = None,
    json: Json = False,
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
    """
    from ayllu.recipes.adopt import adopt as adopt_model

    began = time.monotonic()
    model = adopt_model(source, name=name, licence=licence, home=find_home(home))
    report = {"name": model.name, "folder": str(model.folder), **model.facts(), "seconds": time.monotonic() - began}
    if json:
        print_json(report)
        return
    sys.stdout.write(f"{report['title']}: {report['parameters']:,} parameters, licence {report['licence']}\n")
    sys.stdout.write(f"Talk to it: ayllu chat {model.name}, or ayllu serve {model.name}\n")


def export(
    model: str,
    /,
    *,
    to: Literal["hf", "gguf", "meta"],
    out: Path,
    dtype: Literal["F32", "F16", "BF16", "Q8_0"] | None = None,
    home: Home = None,
    json: Json = False,
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
    """
    from ayllu.lab.channel import find_model
    from ayllu.release.export import export_model

    folder = find_model(model, find_home(home))
    files = export_model(folder, to, out.expanduser().absolute(), dtype=dtype)
    if json:
        print_json({"model": model, "to": to, "out": str(out.expanduser().absolute()), "files": files})
        return
    sys.stdout.write(f"{out}: {', '.join(files)}\n")


def layout(model: str, layout: str, /, *, json: Json = False) -> None:
    """Try a layout: spread a model as training would, without memory, and tell what each process holds.

    Parameters
    ----------
    model
        A model by name, such as llama-3.1-405b, or a folder with a config.json.
    layout
        How it is spread, such as tp=8,pp=16,dp_shard=128.
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
        stages = [asdict(held) | {"total": held.total} for held in found]
        print_json({"model": model, "devices": spread.devices, "stages": stages})
        return
    sys.stdout.write(f"{model} over {spread.devices:,} processes, the first of each pipeline stage\n{table(found)}\n")
