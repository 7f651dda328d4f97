"""Our engine beside llama.cpp built for this very processor and OpenVINO GenAI, each behind an HTTP server, in turns.

    python bench/serving/native_peers.py [MODEL] [--rounds 3] [--bits 8 4] [--keep]

The peers get environments of their own, and read llama-quantize's own files. What rounding costs OpenVINO GenAI is not
measured: it does not tell how likely a given id is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep
from serving import llama_cpp

from ayllu.api.home import find_home
from ayllu.data.archive import default_cache
from ayllu.lab.channel import find_model
from ayllu.lab.made.environments import Environment
from ayllu.model.files import gguf, hf
from ayllu.model.files.hf_config import load_config
from ayllu.serve import measure
from ayllu.serve.engines.memory import machine_threads
from ayllu.serve.measure import Contender, Figures

OPENVINO = Environment(
    name="openvino-genai-2026.4.1", title="OpenVINO GenAI", packages=("openvino-genai==2026.4.1.0", "numpy==2.4.6")
)
USERS = (1, 4, 16)
LINES = {
    "decode": "decode, one user, greedy",
    "drawn": "decode, one user, drawn at temperature 1",
    "prefill": "prompt of 1,000 ids, cold",
    "total_4": "four users together",
    "total_16": "sixteen users together",
}


def ours(folder: Path, bits: int) -> Contender:
    words = ("serve", str(folder), "--engine", "native", "--bits", str(bits), "--port", "{port}")
    return Contender(name="native", bits=bits, command=(sys.executable, "-m", "ayllu.cli", *words))


def llama_servers(file: Path, bits: int, programs: Path) -> list[Contender]:
    """llama.cpp's server with one thread, and with as many as ours."""
    fixed = ("--parallel", str(max(USERS)), "--ctx-size", str(measure.PEER_CONTEXT), "--kv-unified", "--port", "{port}")
    return [
        Contender(
            name="llama.cpp, built here",
            bits=bits,
            command=(
                str(programs / "llama-server"),
                *("--model", str(file), *fixed, "--no-webui", "--log-disable"),
                *("--threads", str(threads), "--threads-batch", str(threads)),
            ),
            peer=True,
            threads=threads,
        )
        for threads in sorted({1, machine_threads()})
    ]


def openvino(file: Path, bits: int, python: Path) -> Contender:
    program = str(Path(__file__).with_name("openvino_server.py"))
    command = (str(python), program, str(file), "{port}", str(machine_threads()))
    return Contender(name="OpenVINO GenAI", bits=bits, command=command, peer=True)


def quantized(folder: Path, scratch: Path, programs: Path, bits: Sequence[int]) -> dict[int, Path]:
    """llama-quantize's own files of a model."""
    whole = scratch / "whole.gguf"
    gguf.write(whole, hf.load(folder), folder, dtype="F16", name="model")
    files = {}
    for each in bits:
        files[each] = scratch / f"{each}.gguf"
        command = [str(programs / "llama-quantize"), str(whole), str(files[each]), measure.GGUF_TYPES[each]]
        subprocess.run(command, check=True, capture_output=True)
    return files


def table_of(contenders: Sequence[Contender], found: Sequence[Figures]) -> list[dict[str, Any]]:
    """Medians of the rounds."""
    return [
        {
            "name": contender.name,
            "bits": contender.bits,
            "threads": contender.threads,
            **{key: round(statistics.median(values), 1) for key, values in speeds(figures).items() if values},
            "first_ms_16": round(statistics.median(figures.first_ms[16])),
            "memory_mib": round(statistics.median(figures.memory_mib)),
            "start_s": round(statistics.median(figures.start_s), 2),
            "bits_per_byte_lost": figures.bits_per_byte_lost,
        }
        for contender, figures in zip(contenders, found, strict=True)
    ]


def speeds(figures: Figures) -> dict[str, list[float]]:
    totals = {f"total_{count}": figures.total[count] for count in USERS if count > 1}
    return {"decode": figures.decode, "drawn": figures.drawn, "prefill": figures.prefill, **totals}


def beside(rows: Sequence[Mapping[str, Any]], bits: int) -> dict[str, dict[str, float]]:
    """Ours as a multiple of each peer's best, line by line."""
    own = next(row for row in rows if row["name"] == "native" and row["bits"] == bits)
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row["name"] for row in rows if row["name"] != "native"):
        peers = [row for row in rows if row["name"] == name and row["bits"] == bits]
        found[name] = {key: round(own[key] / max(row[key] for row in peers), 2) for key in LINES}
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = [
        f"{figures['model']}, each engine through an HTTP server of its own, tokens/s; start is to the first token:",
        "",
        "| engine | bits | one user | drawn | prompt | 4 users | 16 users | first token at 16, ms | MiB | start, s "
        "| bits/byte lost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in figures["engines"]:
        called = row["name"] if row["threads"] is None else f"{row['name']}, {row['threads']} threads"
        lost = row["bits_per_byte_lost"]
        fast = " | ".join(f"{row[key]:,.0f}" for key in LINES)
        lines.append(
            f"| {called} | {row['bits']} | {fast} | {row['first_ms_16']:,} | "
            f"{row['memory_mib']:,} | {row['start_s']:.2f} | {'not measured' if lost is None else f'{lost:.4f}'} |"
        )
    heads = [(name, bits) for bits, peers in figures["beside"].items() for name in peers]
    lines += ["", f"| ours as a multiple of | {' | '.join(f'{name}, {bits} bits' for name, bits in heads)} |"]
    lines.append(f"|---|{'---|' * len(heads)}")
    for key, words in LINES.items():
        ratios = [figures["beside"][bits][name][key] for name, bits in heads]
        lines.append(f"| {words} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join(lines)


def main() -> None:
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    given.add_argument("model", nargs="?", default="smollm2")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    given.add_argument("--keep", action="store_true", help="write bench/records/serving/native_peers.json")
    asked = given.parse_args()
    folder = find_model(asked.model, find_home(None))
    programs, python = llama_cpp.built(default_cache()), OPENVINO.python(default_cache())
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        files = quantized(folder, scratch, programs, asked.bits)
        contenders = [
            contender
            for bits, file in files.items()
            for contender in (ours(folder, bits), *llama_servers(file, bits, programs), openvino(file, bits, python))
        ]
        lost = measure.bits_per_byte_lost(folder, [one for one in contenders if "OpenVINO" not in one.name], scratch)
        found = [Figures() for _ in contenders]
        vocabulary = load_config(folder).vocabulary
        for number in range(asked.rounds):
            for contender, figures in zip(contenders, found, strict=True):
                measure.measure(contender, vocabulary, figures, users=USERS, seed=number)
                print(contender.name, contender.bits, {k: v[-1] for k, v in speeds(figures).items()}, file=sys.stderr)
        for contender, figures in zip(contenders, found, strict=True):
            name = "llama.cpp" if contender.threads else contender.name
            figures.bits_per_byte_lost = lost.get((name, contender.bits))
    rows = table_of(contenders, found)
    told = {
        "model": asked.model,
        "engines": rows,
        "beside": {str(bits): beside(rows, bits) for bits in asked.bits},
    }
    rounds = [
        {"name": contender.name, "bits": contender.bits, "threads": contender.threads, **figures.__dict__}
        for contender, figures in zip(contenders, found, strict=True)
    ]
    print(json.dumps(told, indent=1))
    if asked.keep:
        peers = {"llama.cpp of llama-cpp-python": llama_cpp.VERSION, "openvino-genai": "2026.4.1.0"}
        keep("serving/native_peers", told, rounds=rounds, peers=peers)


if __name__ == "__main__":
    main()
