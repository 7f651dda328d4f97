"""How likely a model finds text, computed in batches: what every score by likelihood stands on.

Two ways to the same numbers. `segment_log_likelihoods` takes any ids and is the plain way. `shared_log_likelihoods`
runs what several continuations have in common once and keeps its keys and values, which for multiple choice saves most
of the work. Both sort by length, pad on the right (under causal attention padding changes nothing before it), and
project only the positions whose next id counts.

Shapes in names: B batch, T time, D model width, V vocabulary, N scored positions of a batch, L layers, K key/value
heads, S cached positions, h head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ayllu.model.transformer import Cache, Transformer

BATCH_TOKENS = 8192
"""Most tokens in one pass through the model, padding included."""
CACHE_TOKENS = 16_384
"""Most tokens whose keys and values are copied for one pass: what continuations share is held once for each."""
BATCH_FLOOR = 512
"""A batch of fewer tokens is filled up with shorter rows, whatever the padding: tiny passes waste more."""
PADDING = 0.25
"""The share of a row that may be padding otherwise."""
LOGITS = {"cpu": 1 << 21}
"""Numbers in one block of logits, by device. On a CPU 8 MiB of float32 stay in the cache, which is 1.3 times (float32)
to 2 times (bfloat16) as fast as blocks of 128 MiB (V 4,096)."""
LOGITS_ELSEWHERE = 1 << 27
ROWS = 256
"""Fewest rows in a block of logits: casting a large output projection must pay."""
STRIDE = 4
"""Shared beginnings are cut to a multiple of this, so that many have the same length and run together; the ids cut off
run once for each continuation."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Ids of which the last `scored` are to be predicted from what stands before them."""

    ids: Sequence[int]
    scored: int


@dataclass(frozen=True, slots=True)
class Question:
    """A beginning and its continuations. The first `given` ids of a continuation are not scored.

    Without a beginning, `given` is at least 1.
    """

    beginning: Sequence[int]
    continuations: Sequence[Sequence[int]]
    given: Sequence[int]

    @property
    def scored(self) -> list[int]:
        """Ids of each continuation that are scored."""
        return [len(ids) - given for ids, given in zip(self.continuations, self.given, strict=True)]

    @property
    def longest(self) -> int:
        """Ids that the model must see at once."""
        return len(self.beginning) + max(len(ids) for ids in self.continuations) - 1


def segments(ids: Sequence[int], given: int, *, context: int, stride: int) -> Iterator[Segment]:
    """Cut `ids` into segments that score each id from number `given` on exactly once.

    A segment has at most `context` + 1 ids (the last is only predicted). Where one does not suffice, windows move by
    `stride`, and every scored id sees at least `context` + 1 - `stride` ids before it, or all there are. Ids before the
    first window's reach are dropped: truncation from the left. Raises ValueError unless 1 <= stride <= context and
    `given` is at least 1, since nothing predicts the first id.
    """
    if not 1 <= stride <= context or given < 1:
        raise ValueError(f"cannot cut into windows of {context} with stride {stride} from id {given} on")
    position = given
    while position < len(ids):
        end = min(len(ids), max(position + stride, context + 1))
        yield Segment(ids[max(0, end - context - 1) : end], end - position)
        position = end


@torch.inference_mode()
def segment_log_likelihoods(
    model: Transformer, chosen: Sequence[Segment], *, dtype: torch.dtype = torch.float32
) -> list[float]:
    """Natural-log likelihood of each segment's scored ids, summed in float64."""
    results = [0.0] * len(chosen)
    order = sorted(range(len(chosen)), key=lambda i: -len(chosen[i].ids))
    for numbers in _batches(order, lambda i: len(chosen[i].ids)):
        sums = _score_batch(model, [chosen[i] for i in numbers], dtype, None)
        for i, value in zip(numbers, sums.tolist(), strict=True):
            results[i] = value
    return results


def shared_log_likelihoods(
    model: Transformer, questions: Sequence[Question], *, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[int, list[float]]]:
    """Yield each question's number with the natural-log likelihood of each continuation's scored ids, as they come.

    A question longer than the model's context runs without sharing: each continuation keeps the end of its beginning
    that fits (BOS is then lost), and one that is itself too long is scored in windows of half a context.
    """
    groups: dict[int, list[int]] = {}
    for i, question in enumerate(questions):
        if question.longest > model.config.context:
            yield i, _without_sharing(model, question, dtype)
        else:
            groups.setdefault(max(0, len(question.beginning) - 1) // STRIDE * STRIDE, []).append(i)
    for shared, group in sorted(groups.items(), reverse=True):
        for start in range(0, len(group), step := max(1, BATCH_TOKENS // max(1, shared))):
            numbers = group[start : start + step]
            yield from zip(
                numbers, _score_behind_shared(model, [questions[i] for i in numbers], shared, dtype), strict=True
            )


def _without_sharing(model: Transformer, question: Question, dtype: torch.dtype) -> list[float]:
    context = model.config.context
    answers = []
    for continuation, given in zip(question.continuations, question.given, strict=True):
        ids = [*question.beginning, *continuation]
        cut = segments(ids, len(question.beginning) + given, context=context, stride=max(1, context // 2))
        answers.append(sum(segment_log_likelihoods(model, list(cut), dtype=dtype)))
    return answers


@torch.inference_mode()
def _score_behind_shared(
    model: Transformer, questions: Sequence[Question], shared: int, dtype: torch.dtype
) -> list[list[float]]:
    """Questions whose first `shared` ids run once: then every continuation, behind the rest of its beginning."""
    past = _prefill(model, [question.beginning[:shared] for question in questions], dtype) if shared else None
    rows: list[tuple[int, int]] = []
    tails: list[Segment] = []
    for number, question in enumerate(questions):
        rest = list(question.beginning[shared:])
        for choice, continuation in enumerate(question.continuations):
            rows.append((number, choice))
            tails.append(Segment([*rest, *continuation], question.scored[choice]))
    answers = [[0.0] * len(question.continuations) for question in questions]
    order = sorted(range(len(rows)), key=lambda i: -len(tails[i].ids))
    for numbers in _batches(order, lambda i: len(tails[i].ids), shared):
        room = len(tails[numbers[0]].ids) - 1
        cache = _gather_rows(model, past, [rows[i][0] for i in numbers], room) if past is not None else None
        sums = _score_batch(model, [tails[i] for i in numbers], dtype, cache)
        for i, value in zip(numbers, sums.tolist(), strict=True):
            answers[rows[i][0]][rows[i][1]] = value
    return answers


def _prefill(model: Transformer, beginnings: Sequence[Sequence[int]], dtype: torch.dtype) -> Cache:
    device = model.embedding.weight.device
    ids_BT = torch.tensor([list(ids) for ids in beginnings], device=device)
    cache = Cache(model.config, batch=len(beginnings), capacity=ids_BT.shape[1], dtype=dtype, device=device)
    model.hidden(ids_BT, cache=cache, dtype=dtype)
    return cache


def _gather_rows(model: Transformer, past: Cache, rows: Sequence[int], room: int) -> Cache:
    """The given rows of a cache (again and again, as they come), with room for more tokens."""
    device = past.keys.device
    index_B = torch.tensor(rows, device=device)
    cache = Cache(model.config, batch=len(rows), capacity=past.length + room, dtype=past.keys.dtype, device=device)
    cache.keys[:, :, :, : past.length] = past.keys[:, index_B]
    cache.values[:, :, :, : past.length] = past.values[:, index_B]
    cache.length = past.length
    return cache


def _score_batch(model: Transformer, batch: Sequence[Segment], dtype: torch.dtype, cache: Cache | None) -> Tensor:
    """Log-likelihoods (B,), float64 on the CPU, of segments of similar length in one pass."""
    device = model.embedding.weight.device
    longest = max(len(segment.ids) for segment in batch) - 1
    inputs = [[*segment.ids[:-1], *([0] * (longest + 1 - len(segment.ids)))] for segment in batch]
    rows_N = [row for row, segment in enumerate(batch) for _ in range(segment.scored)]
    columns_N = [t for segment in batch for t in range(len(segment.ids) - 1 - segment.scored, len(segment.ids) - 1)]
    targets_N = torch.tensor(
        [i for segment in batch for i in segment.ids[len(segment.ids) - segment.scored :]], device=device
    )
    state_BTD = model.hidden(torch.tensor(inputs, device=device), cache=cache, dtype=dtype)
    state_ND = state_BTD[torch.tensor(rows_N, device=device), torch.tensor(columns_N, device=device)]
    sums_B = torch.zeros(len(batch), dtype=torch.float64)
    step = max(ROWS, LOGITS.get(device.type, LOGITS_ELSEWHERE) // model.config.vocabulary)
    for start in range(0, len(rows_N), step):
        part = slice(start, start + step)
        logits_NV = model.output(state_ND[part]).float()
        likelihood_N = -F.cross_entropy(logits_NV, targets_N[part], reduction="none")
        sums_B.index_add_(0, torch.tensor(rows_N[part]), likelihood_N.double().cpu())
    return sums_B


def _batches(order: Sequence[int], length: Callable[[int], int], behind: int = 0) -> Iterator[list[int]]:
    """Cut numbers, longest first, into batches, each row padded to the batch's longest; at least one in each.

    `behind` is how many cached tokens each row continues.
    """
    start = 0
    while start < len(order):
        longest, end = max(1, length(order[start])), start + 1
        most = min(BATCH_TOKENS // longest, CACHE_TOKENS // (behind + longest) if behind else BATCH_TOKENS)
        while end < len(order) and end - start < most:
            if (end - start) * longest >= BATCH_FLOOR and length(order[end]) < (1 - PADDING) * longest:
                break
            end += 1
        yield list(order[start:end])
        start = end
