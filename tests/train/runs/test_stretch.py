"""The last steps of a training, kept and taken again: the same losses, whatever happened to the run on its way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ayllu.train.loop import TrainConfig, train
from ayllu.train.lora import LoraConfig, attach
from ayllu.train.objectives.dpo import DPOConfig, PairSource, dpo_loss
from ayllu.train.objectives.kl_anchor import KLAnchoredSource, kl_anchored_loss
from ayllu.train.objectives.sft import ConversationBatch, Conversations, ConversationSource, conversation_loss
from ayllu.train.stretch.batches import from_parts, to_parts
from ayllu.train.stretch.replay import objective_of, read_stretch, replay
from support.training.tiny import fresh_model

CONFIG = TrainConfig(steps=6, batch=2, warmup=1, precision="float32")
CONVERSATIONS = [
    Conversations(prefix=[1, 2, 3 + i], continuations=[[5, 6, 7], [8, 9]], predict=[[False, True, True], [True, True]])
    for i in range(5)
]
PAIRS = [([1, 2, i], [3, 4], [5, 6, 7]) for i in range(5)]
TEXT = [[i, i + 1, i + 2, i + 3] for i in range(6)]


class Killed(Exception):
    """What a source raises where a run is to end."""


@dataclass(frozen=True)
class Failing:
    """A source that fails when a batch is asked for from sample `at` on.

    Checkpoints are written beside the training: it waits until that of the step before the last is whole.
    """

    inner: ConversationSource
    at: int
    scratch: Path

    @property
    def length(self) -> int:
        return self.inner.length

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def batch(self, first: int, size: int) -> ConversationBatch:
        folder, deadline = self.scratch / "checkpoints", time.monotonic() + 20
        while first > size and time.monotonic() < deadline:
            if any(int(place.name.partition("-")[2]) >= first // size - 1 for place in folder.glob("step-*")):
                break
            time.sleep(0.01)
        if first >= self.at:
            raise Killed
        return self.inner.batch(first, size)


def conversations() -> ConversationSource:
    return ConversationSource(CONVERSATIONS, length=32, seed=1)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_losses_come_again_with_an_anchor_and_an_adapter(tmp_path: Path) -> None:
    reference, model = fresh_model(), attach(fresh_model(), LoraConfig(rank=2, alpha=4.0))
    source = KLAnchoredSource(conversations(), TEXT, rows=2, seed=0)
    objective = kl_anchored_loss(conversation_loss, reference, weight=1.0)
    kept = tmp_path / "stretch"
    result = train(
        model, source, CONFIG, scratch=tmp_path / "s", title="sft", objective=objective, stretch=kept
    )  # fmt: skip
    assert result.stretch is None
    stretch = read_stretch(kept)
    assert list(stretch.steps) == [4, 5, 6] and list(stretch.losses) == result.losses[3:]
    again = attach(fresh_model(), LoraConfig(rank=2, alpha=4.0), seed=7)
    told = {"objective": "conversation", "anchor": 1.0}
    assert list(replay(stretch, again, objective_of(told, fresh_model()))) == result.losses[3:]
    ended = dict(again.named_parameters())
    assert all(torch.equal(ended[name], weight) for name, weight in model.named_parameters())


def test_pairs_come_again(tmp_path: Path) -> None:
    source = PairSource(PAIRS, None, length=32, seed=0)
    config = DPOConfig(beta=0.1, likelihood=0.2)
    result = train(
        fresh_model(), source, CONFIG, scratch=tmp_path / "s", title="dpo", objective=dpo_loss(config),
        stretch=tmp_path / "stretch",
    )  # fmt: skip
    objective = objective_of({"objective": "dpo", "config": {"beta": 0.1, "likelihood": 0.2}}, None)
    assert list(replay(read_stretch(tmp_path / "stretch"), fresh_model(3), objective)) == result.losses[3:]


@pytest.mark.parametrize("step", [2, 5])
def test_a_run_that_was_killed_keeps_the_bytes_of_one_that_was_not(step: int, tmp_path: Path) -> None:
    """Before the stretch and within it; a checkpoint of every step is there to go on from, but for the last."""
    config = TrainConfig(steps=6, batch=2, warmup=1, precision="float32", checkpoint_seconds=0.0)
    whole: dict[str, Any] = {"title": "sft", "objective": conversation_loss}
    train(fresh_model(), conversations(), config, scratch=tmp_path / "a", stretch=tmp_path / "one", **whole)
    with pytest.raises(Killed):
        source = Failing(conversations(), at=2 * step, scratch=tmp_path / "b")
        train(fresh_model(), source, config, scratch=tmp_path / "b", stretch=tmp_path / "two", **whole)
    assert not (tmp_path / "two").exists()
    result = train(fresh_model(), conversations(), config, scratch=tmp_path / "b", stretch=tmp_path / "two", **whole)
    assert result.stretch is None
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_gap_is_said_and_nothing_is_kept(tmp_path: Path) -> None:
    """A run that goes on within the stretch where the state before was lost."""
    config = TrainConfig(steps=6, batch=2, warmup=1, precision="float32", checkpoint_seconds=0.0)
    whole: dict[str, Any] = {"title": "sft", "objective": conversation_loss, "scratch": tmp_path / "s"}
    with pytest.raises(Killed):
        train(
            fresh_model(), Failing(conversations(), at=10, scratch=tmp_path / "s"), config, **whole
        )  # nobody asked for a stretch
    result = train(fresh_model(), conversations(), config, stretch=tmp_path / "stretch", **whole)
    assert result.stretch is not None and "was not kept" in result.stretch
    assert not (tmp_path / "stretch").exists()


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    train(
        fresh_model(), conversations(), CONFIG, scratch=tmp_path / "s", title="sft", objective=conversation_loss,
        stretch=tmp_path / "stretch",
    )  # fmt: skip
    adapted = attach(fresh_model(), LoraConfig(rank=2))
    with pytest.raises(ValueError, match="does not fit the model"):
        list(replay(read_stretch(tmp_path / "stretch"), adapted, conversation_loss))
    with pytest.raises(ValueError, match="no objective"):
        objective_of({"objective": "os.system"}, None)


def test_batches_survive_as_plain_files_and_nothing_else_does() -> None:
    batch = KLAnchoredSource(PairSource(PAIRS, None, length=32, seed=0), TEXT, rows=2, seed=0).batch(0, 2)
    back = from_parts(*to_parts(batch))
    assert torch.equal(back.text_BT, batch.text_BT) and torch.equal(back.inner.rows.ids_BT, batch.inner.rows.ids_BT)
    assert back.ids == batch.ids and int(back.count) == int(batch.count)
    with pytest.raises(TypeError, match="no stretch can hold"):
        to_parts(Path("x"))
    with pytest.raises(KeyError):
        from_parts({"kind": "Popen", "fields": {}}, {})
