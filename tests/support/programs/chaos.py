"""Run by torchrun: a run with many checkpoints, which writes its losses. Arguments: tokens, folder, layout.

`hang` as a further argument makes the first process stop in the middle of a step, once; `steps=N` changes their number.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.lab.error import Stopped
from ayllu.train.distributed.layout import parse_layout
from ayllu.train.loop import Execution, TrainConfig, train
from ayllu.train.optimizer import OptimizerConfig
from support.programs.layouts import model, tokens

STEPS = 60
HANG_SECONDS = 10
"""After which a step counts as hung where one is meant to hang; elsewhere no busy machine is to be mistaken for it."""


class Slow(Loader):
    """Data that takes a moment, so that there is time to be killed in; and that hangs where a file says so."""

    hang: Path | None = None

    def batch(self, first: int, size: int) -> Batch:
        time.sleep(0.1)
        if self.hang is not None and first >= 8 * 20 and not self.hang.exists() and dist.get_rank() == 0:
            self.hang.touch()
            time.sleep(1000)
        return super().batch(first, size)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    source = Slow(tokens(Path(sys.argv[1])), seed=0)
    source.hang = folder / "hung" if "hang" in sys.argv else None
    steps = next((int(word[6:]) for word in sys.argv if word.startswith("steps=")), STEPS)
    config = TrainConfig(
        steps=steps, batch=8, warmup=5, precision="float32", optimizer=OptimizerConfig(), checkpoint_seconds=0.3
    )
    hang_seconds = HANG_SECONDS if source.hang is not None else 300
    execution = Execution(layout=parse_layout(sys.argv[3]), logs=folder / "logs", hang_seconds=hang_seconds)
    try:
        result = train(model(True, layers=2), source, config, scratch=folder, title="chaos", execution=execution)
    except Stopped:
        return
    if dist.get_rank() == 0:
        (folder / "losses.json").write_text(json.dumps(result.losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
