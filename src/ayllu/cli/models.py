"""Commands for models: `ayllu chat`, `adopt`, `export` and `layout`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from ayllu.api import models
from ayllu.api.home import find_home
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.model.files.quantize.types import Type


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
    loaded = models.load(model, home=home)
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
    model = models.adopt(source, name=name, licence=licence, home=home)
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
    to: Literal["hf", "gguf", "meta", "onnx", "executorch", "mlx"],
    out: Path,
    dtype: Type | None = None,
    context: int | None = None,
    most_lost: float | None = None,
    text: Path | None = None,
    importance: Literal["none"] | Path | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a model as the files of another program, and tell what its rounding loses.

    Parameters
    ----------
    model
        The name of a model, or a folder of weights.
    to
        hf (a Hugging Face folder), gguf (llama.cpp and Ollama), meta (consolidated.00.pth and params.json), onnx (ONNX
        Runtime), executorch (one file for phones, made in an environment of its own) or mlx (mlx-lm).
    out
        Folder to write; it must be new or empty.
    dtype
        Type of the matrices; as they are stored when not given, but F16 instead of F32 in a GGUF file of more than 20
        million parameters (F32 keeps every bit). Q4_K_M and its kin give the matrices that
        matter most more bits than the others and only go into GGUF; ONNX has Q8_0 and Q4_0, MLX these and Q4_1.
        ExecuTorch has F32, and Q8_0 and Q4_0 with inputs in 8 bits (8da8w and 8da4w).
    context
        Tokens that a file of ExecuTorch has room for; at most the model's, and no more than 2,048 when not given.
    most_lost
        Bits per byte of held-out text that the export may lose against float32: one that loses more is not written. 0.1
        when not given.
    text
        A file or folder of text to measure that on; passages that no recipe learns from when not given.
    importance
        A file or folder of text that shows which weights of a type of few bits matter; everyday English when not given,
        and none lets all count alike.
    """
    found = models.load(model, home=home).export_measured(
        to, out, dtype=dtype, context=context, most_lost=most_lost, text=text, importance=importance
    )
    loss = found.loss
    if json:
        place = {"model": model, "to": to, "out": str(out.expanduser().absolute()), "files": found.files}
        size = {"file": found.file, "bytes": found.bytes, "type": found.type}
        lost = {"bits_per_byte": loss.before, "bits_per_byte_lost": loss.lost, "text": loss.text}
        print_json({**place, **size, **lost})
        return
    print_lines([f"{out}: {', '.join(found.files)}", f"{found.type}, {found.bytes:,} bytes; {loss.sentence()}"])


def layout(model: str, layout: str, /, *, json: Json = False) -> None:
    """Try a layout: spread a model as training would, without memory, and tell what each process holds.

    Parameters
    ----------
    model
        A model by name, such as llama-3.1-405b or one of your own, or a folder with a config.json.
    layout
        How it is spread, such as tp=8,pp=16,dp_shard=128.
    """
    from dataclasses import asdict

    from ayllu.lab.channel import find_model
    from ayllu.lab.error import UserError
    from ayllu.model.files.hf_config import load_config
    from ayllu.model.presets import PRESETS
    from ayllu.train.distributed.layout import parse_layout
    from ayllu.train.placement import holdings, table

    if model in PRESETS:
        config = PRESETS[model]
    else:
        place = Path(model) if Path(model).is_file() else find_model(model, find_home(None))
        try:
            config = load_config(place)
        except ValueError as error:
            raise UserError(str(error)) from error
    spread = parse_layout(layout)
    found = holdings(config, spread)
    if json:
        stages = [asdict(held) | {"total": held.total} for held in found]
        print_json({"model": model, "devices": spread.devices, "stages": stages})
        return
    head = f"{model} over {spread.devices:,} processes, the first of each pipeline stage"
    print_lines([head, *table(found).split("\n")])
