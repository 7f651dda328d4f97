"""Distillation against a plain computation on whole logits, value and gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ayllu.data.tokens.loader import IGNORED
from ayllu.train.objectives.distill import distillation_loss
from support.models import TINY, sharp_model
from support.training.objectives import conversations, gradients, same_gradients

pytestmark = pytest.mark.usefixtures("small_chunks")
F32 = torch.float32


@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (2.5, 0.0), (2.0, 0.3)])
def test_distillation_by_hand(temperature: float, hard: float) -> None:
    model, teacher, batch = sharp_model(seed=0), sharp_model(seed=1), conversations()
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
    same_gradients(gradients(model, loss), gradients(model, expected))
    assert all(weight.grad is None for weight in teacher.parameters())


def test_a_student_of_itself_has_nothing_to_learn() -> None:
    model, batch = sharp_model(), conversations()
    assert distillation_loss(model)(model, batch, F32).item() == pytest.approx(0, abs=1e-5)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        distillation_loss(sharp_model(), temperature=0)
    with pytest.raises(ValueError, match="share"):
        distillation_loss(sharp_model(), hard=2)
    other = sharp_model(replace(TINY, vocabulary=700))
    with pytest.raises(ValueError, match="vocabulary"):
        distillation_loss(other)(sharp_model(), conversations(), F32)
