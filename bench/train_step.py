"""Training steps beside those of the peers: same shape, same tokens, same machine, in turns.

`python bench/train_step.py` prints a table, with `--json` one object; `--keep` writes
`bench/records/training/train_step.json`. Each contender is a process of its own; they take turns of some steps, so that
a busy minute of the machine meets all of them. The speed of bf16 matrix products (2048-cubed) is measured before every
turn of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training import peers
from training.environments import FOLDER, python_with

SHAPES: dict[str, dict[str, int]] = {
    "small": {"L": 6, "D": 384, "H": 6, "K": 2, "F": 1024, "V": 8192, "T": 512, "B": 8},
    "medium": {"L": 12, "D": 768, "H": 12, "K": 4, "F": 2048, "V": 32768, "T": 1024, "B": 4},
}
MEMORY = {"L": 6, "D": 384, "H": 6, "K": 2, "F": 1024, "V": 128_256, "T": 512, "B": 8}
"""Llama 3's vocabulary: what matters is who holds all logits."""
PEERS = {"transformers": "transformers", "litgpt": "litgpt", "olmo-core": "OLMo-core"}
"""How each is called in a table."""


class Contender:
    """A process that makes steps when asked."""

    def __init__(self, name: str, shape: dict[str, int], *, stderr: Any) -> None:
        peer = next((p for p in PEERS if name.startswith(p)), None)
        python = python_with(peer) if peer else Path(sys.executable)
        command = [str(python), str(Path(__file__).parent / "training" / "contender.py"), name, json.dumps(shape)]
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(shape["threads"])}
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
        self.ready = self._answer()
        self.seconds: list[float] = []

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
        raise RuntimeError(f"{self.name} ended with exit code {self._process.wait()}")

    def steps(self, count: int, *, keep: bool = True) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        found = self._answer()
        if keep:
            self.seconds += found

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def product_rate() -> float:
    """FLOP/s of bf16 products of 2048-cubed matrices, median of eight."""
    import torch

    a = torch.randn(2048, 2048).bfloat16()
    times = []
    for _ in range(8):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(times)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def start(names: list[str], shape: dict[str, int], log: Any) -> list[Contender]:
    found = []
    for name in names:
        try:
            found.append(Contender(name, shape, stderr=log))
            say(f"{name}: first step after {found[-1].ready['first_s']:.1f} s, loss {found[-1].ready['loss']:.3f}")
        except (RuntimeError, subprocess.CalledProcessError) as error:
            say(f"{name}: left out ({error}); see {log.name}")
    return found


def race(label: str, shape: dict[str, int], names: list[str], rounds: int, steps: int, log: Any) -> dict[str, Any]:
    """Ours against `names` in turns."""
    contenders, rates = start(["ours", *names], shape, log), []
    for contender in contenders:
        contender.steps(2, keep=False)
    for number in range(rounds):
        for contender in contenders:
            if contender.name == "ours":
                rates.append(product_rate())
            contender.steps(steps)
        say(f"{label}: round {number + 1} of {rounds}")
    for contender in contenders:
        contender.end()
    tokens = shape["B"] * shape["T"]
    speed = {c.name: tokens / statistics.median(c.seconds) for c in contenders}
    return {
        "tokens_per_second": speed["ours"],
        "matmul_peak": statistics.median(rates),
        "first_step_s": contenders[0].ready["first_s"],
        "rounds": {"matmul_flops_per_second": rates, "seconds": {c.name: c.seconds for c in contenders}},
        "peers": {
            c.name: {
                "tokens_per_second": speed[c.name],
                "ratio": speed["ours"] / speed[c.name],
                "loss": c.ready["loss"],
                "first_step_s": c.ready["first_s"],
            }
            for c in contenders[1:]
        },
    }


def compare(label: str, shape: dict[str, int], heats: list[list[str]], *args: Any) -> dict[str, Any]:
    """One heat after the other, ours in each of them: all peers at once do not fit into 24 GiB."""
    from ayllu.train.flops import training_flops

    found = [race(label, shape, names, *args) for names in heats]
    flops = training_flops(peers.ours(shape), shape["T"]) * found[0]["tokens_per_second"]
    others = {name: peer for heat in found for name, peer in heat["peers"].items()}
    return {
        "shape": label,
        **{axis: shape[axis] for axis in "LDHKFVTB"},
        **found[0],
        "rounds": [heat["rounds"] for heat in found],
        "peers": others,
        "ratio_to_best_peer": min((peer["ratio"] for peer in others.values()), default=None),
        "flops_per_second": flops,
        "fraction_of_matmul_peak": flops / found[0]["matmul_peak"],
    }


def memory(names: list[str], log: Any, threads: int) -> dict[str, Any]:
    """Peak memory of a process that makes one step with Llama 3's vocabulary, one process after the other."""
    found = {}
    for name in names:
        for contender in start([name], MEMORY | {"threads": threads}, log):
            found[name] = contender.ready["peak_gib"]
            contender.end()
    others = [value for name, value in found.items() if name != "ours"]
    return {**MEMORY, "peak_gib": found, "ratio_to_best_peer": found["ours"] / min(others) if others else None}


def show(result: dict[str, Any]) -> None:
    for shape in result["shapes"]:
        print(f"\n{shape['shape']}: " + " ".join(f"{axis}{shape[axis]}" for axis in "LDHKFVTB"))
        print(f"  {'ours':24}{shape['tokens_per_second']:10,.0f} tokens/s")
        for name, peer in sorted(shape["peers"].items(), key=lambda item: item[1]["ratio"]):
            print(f"  {name:24}{peer['tokens_per_second']:10,.0f} tokens/s   ours is {peer['ratio']:.2f} times as fast")
        share = shape["fraction_of_matmul_peak"]
        print(f"  {shape['flops_per_second'] / 1e9:,.0f} GFLOP/s, {100 * share:.0f} % of a matrix product's speed")
    if result["memory"]:
        print(f"\npeak memory of a step, V{MEMORY['V']}")
        for name, value in result["memory"]["peak_gib"].items():
            print(f"  {name:24}{value:10.2f} GiB")


def table(figures: Mapping[str, Any]) -> str:
    """Ours as a multiple of each peer, compiled and in brackets not, as a Markdown table; the least is bold."""
    lines = [
        f"| ours is … times as fast as | {' | '.join(PEERS.values())} | of a 2048-cubed product's speed |",
        f"|---|{'---|' * len(PEERS)}---|",
    ]
    for shape in figures["shapes"]:
        told = f"L{shape['L']} D{shape['D']} V{shape['V']}, {shape['B']} rows of {shape['T']:,}"
        ratios = {name: peer["ratio"] for name, peer in shape["peers"].items()}
        share = f"{100 * shape['fraction_of_matmul_peak']:.0f} %"
        lines.append(f"| {told}: {shape['tokens_per_second']:,.0f} tokens/s | {_cells(ratios)} | {share} |")
    if large := figures["memory"]:
        others = {name: value for name, value in large["peak_gib"].items() if name != "ours"}
        told = f"memory of a step with V{large['V']}: {large['peak_gib']['ours']:.2f} GiB"
        lines.append(f"| {told} | {_cells(others)} | |")
    return "\n".join(lines)


def _cells(values: Mapping[str, float]) -> str:
    """What was found of each peer, compiled and in brackets not; a dash where it was left out."""
    least = min(values.values(), default=None)

    def cell(name: str) -> str:
        value = values.get(name)
        return "–" if value is None else f"**{value:.2f}**" if value == least else f"{value:.2f}"

    return " | ".join(f"{cell(f'{peer}-compiled')} ({cell(f'{peer}-eager')})" for peer in PEERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", action="store_true", help="write bench/records/training/train_step.json")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=3, help="steps in a turn")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory of a large vocabulary")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    heats = [[f"{peer}-{kind}" for peer in given.peers] for kind in ("compiled", "eager")] if given.peers else [[]]
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "train_step.log").open("w") as log:
        shapes = [
            compare(label, SHAPES[label] | {"threads": given.threads}, heats, given.rounds, given.steps, log)
            for label in given.shapes
        ]
        large = (
            None
            if given.no_memory
            else memory(["ours", *(name for heat in heats for name in heat)], log, given.threads)
        )
    result = {"shapes": shapes, "memory": large, "threads": given.threads, "torch": torch.__version__}
    if given.keep:
        from keep import keep

        rounds = {shape["shape"]: shape.pop("rounds") for shape in shapes}
        versions = dict(package.split("==") for peer in given.peers for package in peers.PACKAGES[peer])
        keep(
            "training/train_step",
            result,
            rounds=rounds,
            seed=0,
            peers={k: v for k, v in versions.items() if k != "torch"},
        )
    if given.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
