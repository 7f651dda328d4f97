"""Batched sampling gives what one prompt alone gives, with the log-probabilities of a full forward pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ayllu.model.generate import generate
from ayllu.model.sample import _read_in_turn, _read_together, in_type, sample
from ayllu.model.transformer import Cache, SharedPrefix, Transformer
from support.models import WIDER, tiny_model

PROMPTS = [[5, 9, 300], [17], [44, 45, 46, 47, 48, 49, 50], [599, 3, 3, 8]]
STOP = frozenset(range(0, 600, 7))


def test_greedy_equals_one_by_one() -> None:
    model = tiny_model(WIDER)
    together = sample(model, PROMPTS, tokens=24, stop=STOP, temperature=0.0)
    lengths = set()
    for prompt, (found,) in zip(PROMPTS, together, strict=True):
        alone = list(generate(model, prompt, tokens=24, stop=STOP))
        assert found.ids[: len(alone)] == alone
        assert found.stopped == (len(found.ids) > len(alone)) == (len(alone) < 24)
        assert not found.stopped or found.ids[-1] in STOP
        lengths.add(len(found.ids))
    assert len(lengths) > 1, "the rows should stop at different places, or dropping rows is not tested"


def test_drawn_rows_do_not_depend_on_company() -> None:
    model = tiny_model(WIDER)
    seeds = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]
    together = sample(model, PROMPTS, tokens=20, stop=STOP, temperature=1.3, seeds=seeds)
    for prompt, given, rows in zip(PROMPTS, seeds, together, strict=True):
        for seed, found in zip(given, rows, strict=True):
            ((alone,),) = sample(model, [prompt], tokens=20, stop=STOP, temperature=1.3, seeds=[[seed]])
            assert found.ids == alone.ids
            assert found.stopped == alone.stopped
            assert found.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-4)
    assert len({tuple(found.ids) for found in together[3]}) == 4


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_log_probabilities_are_those_of_a_full_forward_pass(temperature: float) -> None:
    model = tiny_model(WIDER)
    for prompt, rows in zip(
        PROMPTS,
        sample(model, PROMPTS, tokens=16, stop=STOP, temperature=temperature, seeds=[[1, 2]] * 4),
        strict=True,
    ):
        for found in rows:
            logits_TV = model(torch.tensor([prompt + found.ids]))[0, len(prompt) - 1 : -1]
            expected = (logits_TV / (temperature or 1.0)).log_softmax(-1)[range(len(found.ids)), found.ids]
            torch.testing.assert_close(torch.tensor(found.log_probabilities), expected, rtol=0, atol=1e-4)


ALIKE = [[5, 9, 300, 7, 8], [17, 4], [5, 9, 300], [5, 9, 300, 7, 8, 1, 2], [17, 4], [5, 9, 44], [17]]
"""Prompts that begin alike, some of which others go on from, and one that stands there twice."""


def test_what_prompts_begin_with_in_common_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(WIDER)
    alone = [sample(model, [prompt], tokens=12, temperature=0.0)[0][0] for prompt in ALIKE]
    read: list[int] = []
    hidden = Transformer.hidden

    def counted(self: Transformer, ids_BT: torch.Tensor, **given: Any) -> torch.Tensor:
        if ids_BT.shape[0] == 1:
            read.append(ids_BT.shape[1])
        return hidden(self, ids_BT, **given)

    monkeypatch.setattr(Transformer, "hidden", counted)
    together = sample(model, ALIKE, tokens=12, temperature=0.0)
    different = {tuple(prompt[:end]) for prompt in ALIKE for end in range(1, len(prompt) + 1)}
    assert sum(read) == len(different) + 1, "of a prompt at least the last id is read, though it stands there twice"
    for found, expected in zip(together, alone, strict=True):
        assert found[0].ids == expected.ids
        assert found[0].log_probabilities == pytest.approx(expected.log_probabilities, abs=1e-4)


@torch.no_grad()
def test_prompts_in_one_pass_are_read_as_one_by_one() -> None:
    """As a GPU reads them: what is kept of them is the same."""
    model, room = tiny_model(WIDER), {"batch": len(ALIKE), "capacity": 12}
    kept = [Cache(WIDER, dtype=torch.float32, device=torch.device("cpu"), **room) for _ in range(2)]
    states = [read(model, ALIKE, cache) for read, cache in zip((_read_in_turn, _read_together), kept, strict=True)]
    torch.testing.assert_close(*states, rtol=0, atol=1e-4)
    for row, prompt in enumerate(ALIKE):
        one, other = (cache.keys[:, row, :, : len(prompt)] for cache in kept)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_draws_follow_the_distribution() -> None:
    model = tiny_model(WIDER)
    with torch.no_grad():
        expected = model(torch.tensor([PROMPTS[0]]))[0, -1].softmax(-1)
    count = 4000
    ((*rows,),) = sample(model, [PROMPTS[0]], tokens=1, seeds=[range(count)])
    found = torch.bincount(torch.tensor([row.ids[0] for row in rows]), minlength=600) / count
    # Pearson's chi-squared over the ids that are expected at least five times.
    often = expected * count >= 5
    statistic = float(((found - expected)[often] ** 2 / expected[often]).sum() * count)
    freedom = int(often.sum()) - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


def test_bf16_takes_a_copy() -> None:
    model = tiny_model(WIDER)
    cast = in_type(model, torch.bfloat16)
    assert cast.embedding.weight.dtype == torch.bfloat16
    assert cast.output.weight is cast.embedding.weight, "tied weights stay tied"
    assert model.embedding.weight.dtype == torch.float32
    assert in_type(model, torch.float32) is model
    ((one,),) = sample(model, [PROMPTS[0]], tokens=8, temperature=0.0, dtype=torch.bfloat16)
    assert len(one.ids) == 8


def test_what_cannot_be_continued_is_refused() -> None:
    model = tiny_model(WIDER)
    with pytest.raises(ValueError, match="empty"):
        sample(model, [[1], []], tokens=4)
    with pytest.raises(ValueError, match="context"):
        sample(model, [[1] * 250], tokens=20)
    with pytest.raises(ValueError, match="seed"):
        sample(model, [[1]], tokens=4, seeds=[[]])
    assert sample(model, [], tokens=4) == []


@torch.no_grad()
def test_continuations_of_a_shared_prefix_compute_what_separate_rows_compute() -> None:
    model = tiny_model(WIDER)
    prefix, continuations = [7, 8, 9, 10], [[20, 21, 22], [30], [40, 41]]
    ids = prefix + [i for continuation in continuations for i in continuation]
    numbers = [0] * 4 + [n for n, continuation in enumerate(continuations, start=1) for _ in continuation]
    positions = [0, 1, 2, 3] + [4 + i for continuation in continuations for i in range(len(continuation))]
    # A second document in front must change nothing.
    row = torch.tensor([[55, 56, 57, *ids]])
    state = model.hidden(
        row,
        documents_BT=torch.tensor([[0] * 3 + [1] * len(ids)]),
        shared_prefix=SharedPrefix(
            continuation_BT=torch.tensor([[0] * 3 + numbers]), positions_BT=torch.tensor([[0, 1, 2, *positions]])
        ),
    )
    found = model.output(state)[0, 3:]
    at = len(prefix)
    for continuation in continuations:
        alone = model(torch.tensor([prefix + continuation]))[0]
        torch.testing.assert_close(found[: len(prefix)], alone[: len(prefix)], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[at : at + len(continuation)], alone[len(prefix) :], rtol=0, atol=1e-5)
        at += len(continuation)
