"""Run by torchrun: some steps of a small model under a layout; the first process writes losses and norms."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
from ayllu.model.config import ModelConfig
from ayllu.model.files.weights import stored
from ayllu.model.transformer import Transformer
from ayllu.train import optimizer
from ayllu.train.distributed.layout import parse_layout
from ayllu.train.loop import Execution, TrainConfig, train
from ayllu.train.optimizer import OptimizerConfig

STEPS, BATCH = 20, 8


def tokens(folder: Path) -> Tokens:
    """300 documents of counting upwards, packed."""
    folder.mkdir(exist_ok=True)
    if not (folder / "tokens.json").exists():
        starts = torch.randint(2, 40, (300,), generator=torch.Generator().manual_seed(0)).tolist()
        pieces = [TokenizedDocument(ids=[1, *range(s, s + 12)]) for s in starts]
        write_tokens(folder, {"a": pieces}, length=32, vocabulary=64, bos=1, pad=0)
    return Tokens(folder)


def model(tied: bool, *, meta: bool = False, layers: int = 4) -> Transformer:
    config = ModelConfig(
        vocabulary=64, layers=layers, width=32, heads=4, kv_heads=2, feed_forward=48, context=64, tied=tied
    )
    with torch.device("meta" if meta else "cpu"):
        made = Transformer(config)
    if not meta:
        made.initialise(0)
    return made


class Halt(Exception):
    """The run is cut off here."""


class Halting(Loader):
    """Data that ends a run at a step, as a kill would."""

    halt: int
    journal: Path

    def batch(self, first: int, size: int) -> Batch:
        if first // BATCH >= self.halt:
            raise Halt
        with self.journal.open("a") as file:
            file.write(f"{first} {size}\n")
        return super().batch(first, size)


def config(matrices: str, *, steps: int, often: bool, compiled: bool) -> TrainConfig:
    return TrainConfig(
        steps=steps,
        batch=BATCH,
        warmup=steps // 4,
        precision="float32",
        optimizer=OptimizerConfig(matrices=matrices, muon_dtype="float32"),  # type: ignore[arg-type]
        checkpoint_seconds=0 if often else 1e9,
        clip=1.0,
        compiled=compiled,
    )


def main() -> None:
    """Arguments: a folder of tokens, and for each run FOLDER:LAYOUT:KIND:OPTIMIZER:STEPS[:HALT].

    KIND is tied or untied, with -meta built on the meta device, with -compiled compiled; HALT is the step at which the
    run is cut off.
    """
    torch.set_num_threads(1)
    # Three matrices at a time of the eight of a shape, so that chunks meet.
    optimizer.STACK_BYTES = 3 * 4 * 32 * 48
    data = tokens(Path(sys.argv[1]))
    for word in sys.argv[2:]:
        folder, layout, kind, matrices, steps, *halts = word.split(":")
        execution = Execution(
            layout=None if layout == "one" else parse_layout(layout), logs=Path(folder) / "logs", hang_seconds=400
        )
        made = model(kind.startswith("tied"), meta=kind.endswith("meta"))
        source = Halting(data, seed=0)
        source.halt = int(halts[0] if halts else steps)
        source.journal = Path(folder) / f"samples-until-{source.halt}-{os.environ.get('RANK', '0')}"
        source.journal.parent.mkdir(parents=True, exist_ok=True)
        plan = config(matrices, steps=int(steps), often=bool(halts), compiled=kind.endswith("compiled"))
        try:
            result = train(made, source, plan, scratch=Path(folder), title=layout, execution=execution, seed=0)
        except Halt:
            continue
        if not dist.is_initialized() or dist.get_rank() == 0:
            weights = {name: result.read(name).detach().clone() for name, _ in stored(result.model)}
            torch.save(weights, Path(folder) / "model.pt")
            (Path(folder) / "losses.json").write_text(json.dumps(result.losses))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
