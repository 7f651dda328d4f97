"""Run by torchrun: some steps of a small model under a layout; the first process writes losses and norms."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ayllu.data.loader import Loader
from ayllu.data.pack import Piece, Tokens, write_tokens
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.layout import parse_layout
from ayllu.train.loop import Execution, TrainConfig, train
from ayllu.train.optimizer import OptimizerConfig


def tokens(folder: Path) -> Tokens:
    """300 documents of counting upwards, packed."""
    folder.mkdir(exist_ok=True)
    if not (folder / "tokens.json").exists():
        starts = torch.randint(2, 40, (300,), generator=torch.Generator().manual_seed(0)).tolist()
        pieces = [Piece(ids=[1, *range(s, s + 12)]) for s in starts]
        write_tokens(folder, {"a": pieces}, length=32, vocabulary=64, bos=1, pad=0)
    return Tokens(folder)


def model(tied: bool) -> Transformer:
    made = Transformer(
        ModelConfig(vocabulary=64, layers=4, width=32, heads=4, kv_heads=2, feed_forward=48, context=64, tied=tied)
    )
    made.initialise(0)
    return made


def config(matrices: str, steps: int) -> TrainConfig:
    optimizer = OptimizerConfig(matrices=matrices, muon_dtype="float32")  # type: ignore[arg-type]
    return TrainConfig(
        steps=steps, batch=8, warmup=5, precision="float32", optimizer=optimizer, checkpoint_seconds=1e9, clip=1.0
    )


def main() -> None:
    """Arguments: a folder of tokens, and for each run FOLDER:LAYOUT:tied|untied:OPTIMIZER:STEPS."""
    torch.set_num_threads(1)
    data = tokens(Path(sys.argv[1]))
    for word in sys.argv[2:]:
        folder, layout, kind, matrices, steps = word.split(":")
        execution = Execution(
            layout=None if layout == "one" else parse_layout(layout), logs=Path(folder) / "logs", hang_seconds=120
        )
        made = model(kind == "tied")
        source = Loader(data, seed=0)
        result = train(
            made, source, config(matrices, int(steps)), scratch=Path(folder), title=layout, execution=execution
        )
        if not dist.is_initialized() or dist.get_rank() == 0:
            torch.save(result.model.state_dict(), Path(folder) / "model.pt")
            (Path(folder) / "losses.json").write_text(json.dumps(result.losses))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
