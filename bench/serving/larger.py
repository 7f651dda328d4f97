"""How fast one user is answered by a model of a billion parameters, beside llama.cpp built for this very processor and
beside what the memory gives.

    python bench/serving/larger.py [--tokenizer MODEL] [--rounds 3] [--keep]

The shape is Llama 3.2 1B's, the weights are random: to its 4 bits ours rounds to nearest here, for there is nothing to
be right about. A token reads all weights once, so that tokens a second times their bytes is a share of the bandwidth.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep
from serving import llama_cpp
from serving.native_peers import llama_servers, ours, quantized

from ayllu.api.home import find_home
from ayllu.data.archive import default_cache
from ayllu.lab.channel import find_model
from ayllu.lab.made.c_library import compiler
from ayllu.model.config import ModelConfig
from ayllu.model.files import hf
from ayllu.model.transformer import Block, Transformer
from ayllu.serve import measure
from ayllu.serve.engines.memory import machine_threads
from ayllu.serve.engines.native import pack, weights
from ayllu.serve.engines.native.calibrate import matrices_of, stacked
from ayllu.serve.engines.native.panels import GROUP
from ayllu.serve.measure import Contender

SHAPE = ModelConfig(
    vocabulary=128_256, layers=16, width=2048, heads=32, kv_heads=8, feed_forward=8192, context=2048, tied=True
)
BITS, PROMPT, ANSWER = 4, 16, 48
KNOWN = 49_000
"""Ids that the tokenizer has too: servers refuse the others."""


def write_model(folder: Path, tokenizer: Path) -> None:
    """Random weights, with a smaller model's tokenizer."""
    torch.manual_seed(0)
    hf.save(folder, Transformer(SHAPE).to(torch.bfloat16), dtype=torch.bfloat16)
    for file in tokenizer.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())


def nearest(model: Transformer, _: Path) -> Iterator[list[Any]]:
    """Each block's matrices in 4 bits, every weight the nearest of its group's values."""
    for block in model.blocks:
        assert isinstance(block, Block)
        found = []
        for parts in matrices_of(block):
            weight_NK = stacked([part.weight for part in parts])
            groups = weight_NK.view(len(weight_NK), -1, GROUP)
            scales_NG = (groups.abs().amax(-1) / 7).half()
            ints = (groups / scales_NG.float()[..., None]).round().clamp(-8, 7)
            found.append(pack.to_bytes(scales_NG, ints.view_as(weight_NK).to(torch.int8), BITS))
        yield found


def bandwidth_program(scratch: Path) -> Path:
    program, source = scratch / "bandwidth", str(Path(__file__).with_name("bandwidth.c"))
    subprocess.run([str(compiler()), "-O3", "-march=native", "-o", str(program), source, "-lpthread"], check=True)
    return program


def bandwidth(program: Path) -> float:
    """Bytes a second, with as many threads as read most."""
    found = []
    for threads in {1, machine_threads()}:
        done = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True)
        found.append(float(done.stdout))
    return max(found)


def decode_speed(contender: Contender, seed: int) -> float:
    """Tokens a second of one user, drawn at temperature 1."""
    chance = random.Random(seed)
    with measure.running(contender, KNOWN) as (client, _, _):
        client.ask(PROMPT, 4, chance)
        said = client.ask(PROMPT, ANSWER, chance, temperature=1.0)
        return (said.tokens - 1) / (said.last - said.first)


def compare(tokenizer: Path, rounds: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """What the record holds, and its rounds."""
    programs = llama_cpp.built(default_cache())
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        folder = scratch / "model"
        write_model(folder, tokenizer)
        file = quantized(folder, scratch, programs, [BITS])[BITS]
        with mock.patch.object(pack, "_blocks_in_4", nearest):
            packed = weights.packed(folder, BITS)
        program = bandwidth_program(scratch)
        contenders = {"native": ours(folder, BITS)}
        contenders |= {f"llama.cpp, {one.threads}": one for one in llama_servers(file, BITS, programs)}
        found: dict[str, list[float]] = {"bandwidth": [], **{name: [] for name in contenders}}
        try:
            for number in range(rounds):
                found["bandwidth"].append(bandwidth(program))
                for name, contender in contenders.items():
                    found[name].append(decode_speed(contender, number))
        finally:
            read = packed.stat().st_size
            packed.unlink()
        middle = {name: statistics.median(values) for name, values in found.items()}
        theirs = max(value for name, value in middle.items() if name.startswith("llama.cpp"))
        figures = {
            "bytes_per_token": read,
            "bytes_per_token_llama_cpp": file.stat().st_size,
            "bandwidth_gb_s": round(middle["bandwidth"] / 1e9, 1),
            "decode": round(middle["native"], 2),
            "decode_llama_cpp": round(theirs, 2),
            "ratio": round(middle["native"] / theirs, 2),
            "bandwidth_share": round(middle["native"] * read / middle["bandwidth"], 3),
        }
    return figures, found


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    own, theirs = (figures[key] / 1e6 for key in ("bytes_per_token", "bytes_per_token_llama_cpp"))
    given = figures["bandwidth_gb_s"]
    share, shown = figures["bandwidth_share"], figures["decode_llama_cpp"] * theirs / 1e3 / given
    return "\n".join(
        [
            f"Llama 3.2 1B's shape, random weights, 4 bits, one user; memory gave {given:.1f} GB/s in the same run:",
            "",
            "| engine | tokens/s | MB a token | share of the bandwidth |",
            "|---|---|---|---|",
            f"| native | {figures['decode']:.1f} | {own:,.0f} | {share:.0%} |",
            f"| llama.cpp, built here | {figures['decode_llama_cpp']:.1f} | {theirs:,.0f} | {shown:.0%} |",
        ]
    )


def main() -> None:
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    given.add_argument("--tokenizer", default="smollm2", metavar="MODEL")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--keep", action="store_true", help="write bench/records/serving/larger.json")
    asked = given.parse_args()
    figures, rounds = compare(find_model(asked.tokenizer, find_home(None)), asked.rounds)
    print(json.dumps(figures, indent=1))
    if asked.keep:
        keep("serving/larger", figures, rounds=rounds, peers={"llama.cpp of llama-cpp-python": llama_cpp.VERSION})


if __name__ == "__main__":
    main()
