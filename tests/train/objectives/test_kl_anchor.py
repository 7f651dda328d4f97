"""Holding on to the model before: the added loss is the divergence itself, and it keeps a model where it was."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from ayllu.train.objectives.kl_anchor import KLAnchoredSource, kl_anchored_loss, kl_divergence
from ayllu.train.objectives.sft import ConversationSource, conversation_loss, with_shared_prefix
from support.models import TINY, sharp_model
from support.training.objectives import gradients

F32 = torch.float32
CHATS = [with_shared_prefix([([1, 2, 3, 4 + n], [False, False, True, True])]) for n in range(5)]
TEXT = [[(7 * row + at) % TINY.vocabulary for at in range(12)] for row in range(3)]


def source(rows: int = 2) -> KLAnchoredSource:
    return KLAnchoredSource(ConversationSource(CHATS, length=16, seed=0), TEXT, rows=rows, seed=0)


def test_the_loss_is_that_of_the_inner_batch_and_the_divergence_per_id() -> None:
    model, before, batch = sharp_model(seed=0), sharp_model(seed=1), source().batch(4, 2)
    with torch.no_grad():
        teacher_logits = before(batch.text_BT).flatten(0, 1).softmax(-1)
    student = model(batch.text_BT).flatten(0, 1).log_softmax(-1)
    expected = F.kl_div(student, teacher_logits, reduction="sum")
    torch.testing.assert_close(kl_divergence(before, model, batch.text_BT, F32), expected, rtol=1e-5, atol=1e-4)

    whole = conversation_loss(model, batch.inner, F32) + 0.5 * batch.count * expected / batch.text_BT.numel()
    loss = kl_anchored_loss(conversation_loss, before, weight=0.5)(model, batch, F32)
    torch.testing.assert_close(loss, whole, rtol=1e-5, atol=1e-4)
    found, wanted = gradients(model, loss), gradients(model, whole)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_a_model_learns_and_stays_nearer_to_what_it_was() -> None:
    before, held = sharp_model(seed=2), torch.tensor(TEXT)

    def taught(weight: float) -> tuple[float, float]:
        model = copy.deepcopy(before)
        anchored = source(rows=3)
        objective = kl_anchored_loss(conversation_loss, before, weight=weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(30):
            optimizer.zero_grad()
            objective(model, anchored.batch(5 * step, 5), F32).backward()
            optimizer.step()
        with torch.no_grad():
            loss = conversation_loss(model, anchored.batch(0, 5).inner, F32).item()
            return loss, kl_divergence(before, model, held, F32).item()

    loose, tight = taught(1e-6), taught(1.0)
    assert tight[0] < 1.1 * 5 * math.log(5), "nothing was learnt"
    assert tight[1] < loose[1] / 10


def test_every_row_of_text_is_seen_once_in_a_pass_whatever_was_asked_before() -> None:
    anchored = source(rows=1)
    seen = [tuple(anchored.batch(4 * step, 4).text_BT[0].tolist()) for step in (2, 0, 1)]
    assert sorted(seen) == sorted(map(tuple, TEXT))
    assert anchored.fingerprint != source(rows=2).fingerprint


def test_text_and_weights_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        KLAnchoredSource(ConversationSource(CHATS, length=16, seed=0), [[1, 2], [1]], rows=1, seed=0)
    with pytest.raises(ValueError, match="weight"):
        kl_anchored_loss(conversation_loss, sharp_model(), weight=0)
