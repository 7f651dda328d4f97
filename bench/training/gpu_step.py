"""Training steps on one GPU: ours plain, with several documents in a row and in 8 bits, and those of peers.

    python bench/training/gpu_step.py [--shapes 1b 8b-layers] [--contenders ours transformers-compiled ...] [--json]

One contender after the other, each a process of its own, for a GPU's memory does not hold two. The peers come from this
Python's own environment; one that is missing or does not fit is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import peers
import torch

from ayllu.train.flops import training_flops
from ayllu.train.machine import matmul_speed

SHAPES: dict[str, dict[str, int]] = {
    "1b": {"L": 16, "D": 2048, "H": 32, "K": 8, "F": 8192, "V": 128_256, "T": 4096, "B": 2},
    "8b-layers": {"L": 8, "D": 4096, "H": 32, "K": 8, "F": 14336, "V": 128_256, "T": 8192, "B": 1},
}
"""Llama 3.2 1B with an output matrix of its own, and eight layers of Llama 3.1 8B."""
CONTENDERS = ("ours", "ours-documents", "ours-float8", "ours-float8-documents", "transformers-compiled")


def time_one(name: str, shape: dict[str, int], steps: int, log: Any) -> dict[str, Any] | None:
    """Median seconds of a step after three; None where the contender does not run here."""
    command = [sys.executable, str(Path(__file__).with_name("contender.py")), name, json.dumps(shape | {"threads": 8})]
    asked = f"3\n{steps}\n"
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "["))]
    if len(answers) < 3:
        return None
    ready, _, seconds = answers
    return {
        "tokens_per_second": shape["B"] * shape["T"] / statistics.median(seconds),
        "spread": max(seconds) / min(seconds),
        "first_step_s": ready["first_s"],
        "peak_gib": ready["peak_gib"],
        "loss": ready["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--log", type=Path, default=Path("gpu_step.log"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; bench/train_step.py times steps on a CPU")
    peak = matmul_speed("bf16")
    torch.cuda.empty_cache()
    result: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "matmul_peak": peak, "torch": torch.__version__}
    print(f"{result['gpu']}: {peak / 1e12:.0f} TFLOP/s of bf16 products, 8192-cubed", file=sys.stderr, flush=True)
    with given.log.open("w") as log:
        for label in given.shapes:
            shape = SHAPES[label]
            flops = training_flops(peers.ours(shape), shape["T"])
            for name in given.contenders:
                found = time_one(name, shape, given.steps, log)
                result[f"{label} {name}"] = found
                if found is None:
                    print(f"{label:10} {name:24} left out: see {given.log}", file=sys.stderr, flush=True)
                    continue
                found["mfu"] = found["tokens_per_second"] * flops / peak
                print(
                    f"{label:10} {name:24}{found['tokens_per_second']:10,.0f} tokens/s  MFU {100 * found['mfu']:.1f} %"
                    f"  {found['peak_gib']:.1f} GiB  first {found['first_step_s']:.0f} s  loss {found['loss']:.3f}",
                    file=sys.stderr,
                    flush=True,
                )
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
