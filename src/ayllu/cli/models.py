"""Commands for models: `ayllu chat`, `adopt`, `export` and `layout`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from ayllu import api
from ayllu.cli.options import Home, Json, print_json, print_lines


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
    """
    from ayllu.cli.chat import chat_terminal
    from ayllu.serve.conversation import given_sampling

    given = given_sampling(temperature=temperature, top_p=top_p, seed=seed)
    loaded = api.load(model, home=home)
    answer = chat_terminal(loaded, message=message, system=system, sampling=loaded.sampling(**given), json=json)
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
    began = time.monotonic()
    model = api.adopt(source, name=name, licence=licence, home=home)
    report = {"name": model.name, "folder": str(model.folder), **model.facts(), "seconds": time.monotonic() - began}
    if json:
        print_json(report)
        return
    print_lines([f"{report['title']}: {report['parameters']:,} parameters, licence {report['licence']}"])
    ends = (f"{token} ({', '.join(places)})" for token, places in report["stops"].items())
    print_lines([f"Ends a reply: {', '.join(ends)}"])
    print_lines(f"Left out: {clause}" for clause in report["left_out"])
    print_lines([f"Talk to it: ayllu chat {model.name}, or ayllu serve {model.name}"])


def export(
    model: str,
    /,
    *,
    to: Literal["hf", "gguf", "meta"],
    out: Path,
    dtype: Literal["F32", "F16", "BF16", "Q8_0", "Q4_0"] | None = None,
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
        Type of the matrices; as they are stored when not given, but F16 instead of F32 in a GGUF file of more than 20
        million parameters (F32 keeps every bit). Q8_0 and Q4_0 only go into GGUF.
    """
    files = api.load(model, home=home).export(to, out, dtype=dtype)
    if json:
        print_json({"model": model, "to": to, "out": str(out.expanduser().absolute()), "files": files})
        return
    print_lines([f"{out}: {', '.join(files)}"])


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
    head = f"{model} over {spread.devices:,} processes, the first of each pipeline stage"
    print_lines([head, *table(found).split("\n")])
