"""What a run does when a loss is no number or jumps: skip, go back, pass over the data, and stop when it keeps on."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.loop import Execution, TrainConfig, TrainResult, train
from ayllu.train.loss_guard import LossGuard, LossGuardConfig
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.step import StepResult

GUARD = LossGuardConfig(window=16, fewest=8, patience=3, returns=2)


class Poisoned(Loader):
    """Data of which some steps' samples are known to be bad; the objective below trips over them."""

    bad: frozenset[int] = frozenset()

    def batch(self, first: int, size: int) -> Batch:
        found = super().batch(first, size)
        if first // size in self.bad:
            found.ids_BT.fill_(63)
        return found


def run(
    tokens: Tokens, folder: Path, bad: set[int], factor: float, *, steps: int = 60, checkpoint_seconds: float = 0
) -> TrainResult:
    def objective(model: Transformer, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
        loss = next_token_loss(model, batch, dtype)
        return loss * factor if bool((batch.ids_BT == 63).all()) else loss

    source = Poisoned(tokens, seed=0)
    source.bad = frozenset(bad)
    model = Transformer(ModelConfig(vocabulary=64, layers=1, width=32, heads=2, kv_heads=1, feed_forward=48, tied=True))
    model.initialise(0)
    config = TrainConfig(steps=steps, batch=4, warmup=5, precision="float32", checkpoint_seconds=checkpoint_seconds)
    execution = Execution(logs=folder / "logs")
    return train(
        model, source, config, scratch=folder, title="t", objective=objective, execution=execution, guard=GUARD
    )


@pytest.mark.parametrize("factor", [math.nan, math.inf, 100.0], ids=["nan", "inf", "jump"])
def test_one_bad_step_is_skipped_and_the_run_goes_on(tokens: Tokens, tmp_path: Path, factor: float) -> None:
    result = run(tokens, tmp_path, {30}, factor, checkpoint_seconds=math.inf)
    assert [step for step, loss in enumerate(result.losses) if math.isnan(loss)] == [30]
    assert result.losses[-1] < result.losses[29]
    events = [json.loads(line)["event"] for line in (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert events[30] == "skipped"
    assert events.count(None) == 59
    assert (tmp_path / "logs" / "curves.png").stat().st_size > 1000


def test_bad_steps_in_a_row_go_back_and_pass_over_the_data(
    tokens: Tokens, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tokens, tmp_path, {30, 31, 32}, 100.0)
    assert len(result.losses) == 60
    assert all(math.isfinite(loss) for loss in result.losses)
    found = re.search(r"went back to step (\d+), and on with the data from sample 132", capsys.readouterr().err)
    assert found
    # A checkpoint is written at each step, or at the next one where the disk has not finished the one before.
    back = int(found[1])
    assert 20 <= back <= 30
    rows = [json.loads(line) for line in (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [row["event"] for row in rows if row["event"]] == ["skipped", "skipped", "back"]
    # What was seen since the checkpoint is passed over, the three bad batches with it, and 60 steps are taken.
    assert rows[-1]["sample"] == (33 + 60 - back) * 4


def test_a_run_that_keeps_going_bad_stops_with_one_sentence(tokens: Tokens, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss is no number or keeps jumping"):
        run(tokens, tmp_path, set(range(30, 60)), math.nan)


def test_the_guard_remembers_across_a_restart(tokens: Tokens, tmp_path: Path) -> None:
    run(tokens, tmp_path, set(), 1.0, steps=40)
    facts = json.loads((max(tmp_path.glob("checkpoints/step-*")) / "checkpoint.json").read_text())
    guard = LossGuard(GUARD)
    guard.load(facts["guard"])
    assert len(guard.losses) == GUARD.window
    assert guard.limit < math.inf


def test_changed_data_is_refused(tokens: Tokens, tmp_path: Path) -> None:
    run(tokens, tmp_path / "run", set(), 1.0, steps=20)
    pieces = [TokenizedDocument(ids=[1, *range(s, s + 12)]) for s in range(2, 40)] * 8
    (tmp_path / "other").mkdir()
    write_tokens(tmp_path / "other", {"a": pieces}, length=32, vocabulary=64, bos=1, pad=0)
    with pytest.raises(UserError, match="the data has changed"):
        run(Tokens(tmp_path / "other"), tmp_path / "run", set(), 1.0, steps=40)


def result(loss: float) -> StepResult:
    return StepResult(loss=loss, norm=1.0, count=1)


@given(st.lists(st.floats(0.5, 5.0), min_size=40, max_size=80), st.integers(0, 5))
def test_a_jump_does_not_raise_the_limit(losses: list[float], jumps: int) -> None:
    """OLMo-core's window takes in the outliers that it is to find."""
    guard = LossGuard(LossGuardConfig(patience=10))
    for loss in losses:
        guard.judge(result(loss))
    before = guard.limit
    for _ in range(jumps):
        guard.judge(result(math.nan))
    assert guard.limit == before
    again = LossGuard(LossGuardConfig(patience=10))
    again.load(json.loads(json.dumps(guard.state())))
    assert (again.limit, again.bad) == (before, jumps)
