"""Each objective against a plain computation on whole logits, value and gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from ayllu.data.tokens.loader import IGNORED, Batch
from ayllu.train.objectives import next_token as objective
from ayllu.train.objectives.distill import distillation_loss
from ayllu.train.objectives.dpo import (
    DPOConfig,
    PairBatch,
    PairSource,
    dpo_loss,
    reference_log_probabilities,
)
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.objectives.sft import sft_loss
from ayllu.train.objectives.shared_prefix import pack_shared_prefix
from support.objectives import CONFIG, descend, gradients, log_softmax_of, small_model

PAIRS = [
    ([1, 2, 3], [10, 11, 12], [20]),
    ([4], [13, 14], [21, 22, 23, 24]),
    ([5, 6, 7, 8, 9], [15], [25, 26]),
]
F32 = torch.float32


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of logits at a time, so that chunks meet."""
    monkeypatch.setattr(objective, "CHUNK_LOGITS", 3 * CONFIG.vocabulary)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4, msg=name)


def conversation() -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 600, (2, 17), generator=generator)
    targets = torch.where(torch.rand(2, 16, generator=generator) < 0.4, ids[:, 1:], IGNORED)
    return Batch(ids[:, :-1], targets, torch.tensor([[0] * 9 + [1] * 7, [0] * 16]))


def test_supervised_loss_is_the_next_token_loss() -> None:
    model, batch = small_model(), conversation()
    loss, whole = sft_loss(model, batch, F32), next_token_loss(model, batch, dtype=F32)
    torch.testing.assert_close(loss, whole)
    same(gradients(model, loss), gradients(model, whole))


def test_log_probabilities_of_packed_rows() -> None:
    model = small_model()
    rows = pack_shared_prefix([(prompt, (good, bad)) for prompt, good, bad in PAIRS], length=12)
    assert rows.ids_BT.shape[0] == 2, "two documents should share a row"
    weights = torch.linspace(-1, 2, len(rows.targets_N))
    plain = [log_softmax_of(model, prompt, answer) for prompt, good, bad in PAIRS for answer in (good, bad)]
    found = rows.log_probabilities(model, F32)
    torch.testing.assert_close(found, torch.cat(plain), rtol=0, atol=2e-5)
    torch.testing.assert_close(rows.by_continuation(found), torch.stack([p.sum() for p in plain]), rtol=0, atol=1e-4)
    assert rows.lengths().tolist() == [3, 1, 2, 4, 1, 2]
    same(gradients(model, (found * weights).sum()), gradients(model, (torch.cat(plain) * weights).sum()))


def test_an_empty_continuation_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        pack_shared_prefix([([1, 2], [[3], []])], length=8)


@pytest.mark.parametrize(
    "config",
    [
        DPOConfig(beta=0.3),
        DPOConfig(beta=0.3, likelihood=0.2),
        DPOConfig(kind="ipo", beta=0.5),
        DPOConfig(kind="simpo", beta=2.0, margin=0.5),
    ],
)
def test_preference_losses_by_hand(config: DPOConfig) -> None:
    model, reference = small_model(0), small_model(1)
    known = reference_log_probabilities(reference, PAIRS, length=16, dtype=F32, batch=2)
    source = PairSource(PAIRS, known, length=16, seed=3)
    batch = source.batch(0, 3)
    assert batch.count == 3
    expected = torch.zeros(())
    for prompt, good, bad in PAIRS:
        chosen, rejected = log_softmax_of(model, prompt, good), log_softmax_of(model, prompt, bad)
        with torch.no_grad():
            before = log_softmax_of(reference, prompt, good).sum() - log_softmax_of(reference, prompt, bad).sum()
        margin = chosen.sum() - rejected.sum() - before
        if config.kind == "dpo":
            expected = expected + torch.log(1 + torch.exp(-config.beta * margin))
        elif config.kind == "ipo":
            expected = expected + (margin - 1 / (2 * config.beta)) ** 2
        else:
            expected = expected + torch.log(
                1 + torch.exp(-config.beta * (chosen.mean() - rejected.mean()) + config.margin)
            )
        expected = expected - config.likelihood * chosen.mean()
    loss = dpo_loss(config)(model, batch, F32)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    same(gradients(model, loss), gradients(model, expected))


def test_untouched_policy_has_dpo_loss_log_2() -> None:
    model = small_model()
    known = reference_log_probabilities(model, PAIRS, length=16, dtype=F32)
    batch = PairSource(PAIRS, known, length=16, seed=0).batch(0, 3)
    assert dpo_loss(DPOConfig())(model, batch, F32).item() == pytest.approx(3 * math.log(2), abs=1e-5)


def test_dpo_learns_to_prefer() -> None:
    model = small_model()
    known = reference_log_probabilities(model, PAIRS, length=16, dtype=F32)
    source = PairSource(PAIRS, known, length=16, seed=0)
    losses = descend(model, dpo_loss(DPOConfig()), source, steps=20, size=3, lr=3e-3)
    assert losses[-1] < 0.3 < losses[0]


def test_each_pair_comes_once_per_pass() -> None:
    source = PairSource(PAIRS, torch.arange(6.0).view(3, 2), length=16, seed=7)
    for epoch in range(3):
        seen = torch.cat([source.batch(3 * epoch + i, 1).reference_P2 for i in range(3)])
        assert sorted(seen[:, 0].tolist()) == [0, 2, 4]


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (2.5, 0.0), (2.0, 0.3)])
def test_distillation_by_hand(temperature: float, hard: float) -> None:
    model, teacher, batch = small_model(0), small_model(1), conversation()
    counted = batch.targets_BT != IGNORED
    student = model(batch.ids_BT, documents_BT=batch.documents_BT)[counted]
    with torch.no_grad():
        teacher_logits = teacher(batch.ids_BT, documents_BT=batch.documents_BT)[counted]
    soft = (
        F.kl_div((student / temperature).log_softmax(-1), (teacher_logits / temperature).softmax(-1), reduction="sum")
        * temperature**2
    )
    expected = (1 - hard) * soft + hard * F.cross_entropy(student, batch.targets_BT[counted], reduction="sum")
    loss = distillation_loss(teacher, temperature=temperature, hard=hard)(model, batch, F32)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    same(gradients(model, loss), gradients(model, expected))
    assert all(weight.grad is None for weight in teacher.parameters())


def test_a_student_of_itself_has_nothing_to_learn() -> None:
    model, batch = small_model(), conversation()
    assert distillation_loss(model)(model, batch, F32).item() == pytest.approx(0, abs=1e-5)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="beta"):
        DPOConfig(beta=0)
    with pytest.raises(ValueError, match="temperature"):
        distillation_loss(small_model(), temperature=0)
    with pytest.raises(ValueError, match="share"):
        distillation_loss(small_model(), hard=2)
    other = small_model(config=type(CONFIG)(**(vars(CONFIG) | {"vocabulary": 700})))
    with pytest.raises(ValueError, match="vocabulary"):
        distillation_loss(other)(small_model(), conversation(), F32)


def test_pair_batch_counts_pairs() -> None:
    rows = pack_shared_prefix([([1], ([2], [3]))], length=4)
    assert PairBatch(rows=rows, reference_P2=torch.zeros(1, 2)).count == 1
