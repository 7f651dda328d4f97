"""What a run shows of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ayllu.data.tokens.loader import Loader
from ayllu.train.loop import Execution, TrainConfig, train
from support.training.tiny import fresh_model


def test_tensorboard_shows_what_the_metrics_say(loader: Loader, tmp_path: Path) -> None:
    config = TrainConfig(steps=5, batch=4, warmup=1, precision="float32")
    result = train(
        fresh_model(), loader, config, scratch=tmp_path, title="test", execution=Execution(logs=tmp_path / "logs")
    )
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    shown = events.Scalars("loss")
    assert [event.step for event in shown] == [1, 2, 3, 4, 5]
    assert [event.value for event in shown] == pytest.approx(result.losses)
    assert {"norm", "rate", "tokens_per_second", "mfu"} <= set(events.Tags()["scalars"])
    assert (tmp_path / "logs" / "curves.png").is_file()
