"""How likely a model finds text, computed in batches: what every score by likelihood stands on.

`segment_log_likelihoods` takes any ids. `shared_log_likelihoods` runs what several continuations have in common once:
a question is one row whose choices are branches (`branches`), and what a family of questions begins with, such as
solved examples, is computed once for all of them. Rows run sorted by length, without padding, and only positions whose
next id counts are projected, each once.

Shapes in names: N scored positions of a batch, D model width, V vocabulary, P scored ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain, pairwise

import torch
from torch import Tensor

from ayllu.evals.likelihood.branches import Forward, Trunk, ready
from ayllu.evals.likelihood.rows import Row
from ayllu.evals.likelihood.threads import Once, in_order
from ayllu.model.transformer import Transformer

BATCH_TOKENS = {"cpu": 1024}
"""Most tokens in one pass through the model, by device: what a thousand are computed with stays in a CPU's cache."""
BATCH_TOKENS_ELSEWHERE = 4096
LEAST_TOKENS = 128
"""Fewest tokens of a batch that another thread may have: reading all weights must pay."""
ROW_TOKENS = 1024
"""Longest row of several branches: attention to a row grows with its square, so longer ones are taken apart."""
LOGITS = {"cpu": 1 << 21}
"""Numbers in one block of logits, rows by columns, by device. On a CPU 8 MiB of float32 stay in the cache, which is
1.3 times (float32) to 2 times (bfloat16) as fast as blocks of 128 MiB (V 4,096)."""
LOGITS_ELSEWHERE = 1 << 27
ROWS = 1024
"""Fewest rows in a block of logits: reading the columns of an output projection must pay."""
FAMILY = 32
"""Fewest ids in common for which questions may run behind one beginning."""
SAVED = 512
"""Fewest tokens that a family must save: passes of few tokens read all weights for little."""


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

    def distinct(self) -> Iterator[tuple[int, Sequence[int], Sequence[int]]]:
        """Continuations to run: number, ids, and the last ids of those after it that differ in nothing else.

        Letters of choices are one id each: the model runs once for all of them.
        """
        first, *more = self.continuations
        if all(count == 1 for count in self.scored) and all(ids[:-1] == first[:-1] for ids in more):
            yield 0, first, [ids[-1] for ids in more]
        else:
            yield from ((number, ids, ()) for number, ids in enumerate(self.continuations))

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


@dataclass(frozen=True, slots=True)
class _Plan:
    """A row, and which of its tokens predict what: token of the row, id, and the slot of the sum that it counts for."""

    row: Row
    predicted: Sequence[tuple[int, int, int]]


def segment_log_likelihoods(
    model: Transformer | Forward, chosen: Sequence[Segment], *, dtype: torch.dtype | None = None
) -> list[float]:
    """Natural-log likelihood of each segment's scored ids, summed in float64."""
    results = [0.0] * len(chosen)
    for number, value, _ in _segment_likelihoods(ready(model, dtype), chosen, greedy=False):
        results[number] = value
    return results


def greedy_log_likelihoods(
    model: Transformer | Forward, chosen: Sequence[Segment], *, dtype: torch.dtype | None = None
) -> Iterator[tuple[int, float, bool]]:
    """Yield each segment's number, likelihood, and whether each scored id is the likeliest of all, as they come."""
    return _segment_likelihoods(ready(model, dtype), chosen, greedy=True)


def _segment_likelihoods(
    forward: Forward, chosen: Sequence[Segment], *, greedy: bool
) -> Iterator[tuple[int, float, bool]]:
    def scored(numbers: Sequence[int]) -> list[tuple[int, float, bool]]:
        plans = []
        for slot, i in enumerate(numbers):
            ids, first = chosen[i].ids, len(chosen[i].ids) - chosen[i].scored
            plans.append(_Plan(Row(ids[:-1]), [(at - 1, ids[at], slot) for at in range(first, len(ids))]))
        sums, likeliest = _score(forward, plans, len(numbers), None, greedy=greedy)
        return list(zip(numbers, sums.tolist(), likeliest.tolist(), strict=True))

    order = sorted(range(len(chosen)), key=lambda i: -len(chosen[i].ids))
    batches = _batches(order, lambda i: len(chosen[i].ids), forward)
    yield from chain.from_iterable(in_order((partial(scored, numbers) for numbers in batches), forward.threads))


def shared_log_likelihoods(
    model: Transformer | Forward, questions: Sequence[Question], *, dtype: torch.dtype | None = None
) -> Iterator[tuple[int, list[float]]]:
    """Yield each question's number with the natural-log likelihood of each continuation's scored ids, as they come.

    A model computes in `dtype`, float32 unless said; one that is ready (`Forward`) in its own, which several calls may
    share. A question longer than the model's context runs without sharing: each continuation keeps the end of its
    beginning that fits (BOS is then lost), and one that is itself too long is scored in windows of half a context.
    """
    forward = ready(model, dtype)
    fitting: list[int] = []
    for i, question in enumerate(questions):
        if question.longest > forward.model.config.context:
            yield i, _without_sharing(forward, question)
        else:
            fitting.append(i)
    yield from chain.from_iterable(in_order(_jobs(forward, questions, fitting), forward.threads))


def _jobs(
    forward: Forward, questions: Sequence[Question], numbers: Sequence[int]
) -> Iterator[Callable[[], list[tuple[int, list[float]]]]]:
    """Batches of questions, each as what computes it."""

    def answers(common: int, trunk: Once[Trunk | None], numbers: Sequence[int]) -> list[tuple[int, list[float]]]:
        return list(zip(numbers, _ask(forward, [questions[i] for i in numbers], common, trunk()), strict=True))

    for common, family in families(questions, numbers):
        trunk = Once(partial(_trunk, forward, questions[family[0]].beginning[:common]))
        sizes = {i: _size(questions[i]) - common for i in family}
        for batch in _batches(sorted(family, key=lambda i: -sizes[i]), sizes.__getitem__, forward):
            yield partial(answers, common, trunk, batch)


@torch.inference_mode()
def _trunk(forward: Forward, ids: Sequence[int]) -> Trunk | None:
    return forward.trunk(ids) if ids else None


def families(questions: Sequence[Question], numbers: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Questions that begin alike, each family with how many ids all of it have in common.

    Neighbours in the order of their ids join while at least `FAMILY` ids stay common: the examples before the questions
    of a subject. Those ids run once for the family; 0 means that nothing is shared, as where too little would be saved.
    """
    found: list[tuple[int, list[int]]] = []
    for i in sorted(numbers, key=lambda i: list(questions[i].beginning)):
        beginning = questions[i].beginning
        if found:
            common, family = found[-1]
            other = questions[family[0]].beginning
            longest = min(len(beginning) - 1, common or len(other) - 1)
            alike = next((at for at in range(longest) if beginning[at] != other[at]), max(0, longest))
            if alike >= FAMILY:
                found[-1] = (alike, [*family, i])
                continue
        found.append((0, [i]))
    large = [(common, family) for common, family in found if common * (len(family) - 1) >= SAVED]
    chosen = {i for _, family in large for i in family}
    alone = [i for i in numbers if i not in chosen]
    return [*large, *([(0, alone)] if alone else [])]


def _without_sharing(forward: Forward, question: Question) -> list[float]:
    context = forward.model.config.context
    answers = []
    for continuation, given in zip(question.continuations, question.given, strict=True):
        ids = [*question.beginning, *continuation]
        cut = segments(ids, len(question.beginning) + given, context=context, stride=max(1, context // 2))
        answers.append(sum(segment_log_likelihoods(forward, list(cut))))
    return answers


def _size(question: Question) -> int:
    """About how many tokens a question takes."""
    return len(question.beginning) + sum(len(ids) for _, ids, _ in question.distinct())


def _ask(forward: Forward, questions: Sequence[Question], common: int, trunk: Trunk | None) -> list[list[float]]:
    """The likelihoods of each question's continuations; all questions begin with the `common` ids of the trunk."""
    slots = list(accumulate((len(question.continuations) for question in questions), initial=0))
    plans = [plan for q, slot in zip(questions, slots, strict=False) for plan in _plans(q, common, slot)]
    plans.sort(key=lambda plan: -plan.row.length)
    sums, _ = _score(forward, plans, slots[-1], trunk)
    values = sums.tolist()
    return [values[start:end] for start, end in pairwise(slots)]


def _plans(question: Question, common: int, slot: int) -> Iterator[_Plan]:
    """A question as one row of branches, or as a row for each continuation where that row would be too long."""
    beginning, runs = question.beginning[common:], list(question.distinct())
    row = Row(beginning, [ids[:-1] for _, ids, _ in runs])
    if len(runs) > 1 and row.length > ROW_TOKENS:
        for number, ids, _ in runs:
            whole, first = [*beginning, *ids], len(beginning) + question.given[number]
            yield _Plan(Row(whole[:-1]), [(at - 1, whole[at], slot + number) for at in range(first, len(whole))])
        return
    predicted = []
    for start, (number, ids, others) in zip(row.starts, runs, strict=True):
        # The first id of a branch is predicted by the last of the beginning.
        places = [len(beginning) - 1, *range(start, start + len(ids) - 1)]
        given = question.given[number]
        predicted += [(places[at], ids[at], slot + number) for at in range(given, len(ids))]
        predicted += [(places[-1], other, slot + number + step) for step, other in enumerate(others, 1)]
    yield _Plan(row, predicted)


@torch.inference_mode()
def _score(
    forward: Forward, plans: Sequence[_Plan], slots: int, trunk: Trunk | None, *, greedy: bool = False
) -> tuple[Tensor, Tensor]:
    """For each slot the sum of log-likelihoods, float64, and with `greedy` whether every id of it is the likeliest; on
    the CPU."""
    starts = accumulate((plan.row.length for plan in plans), initial=0)
    asked = sorted(
        (start + at, i, slot) for start, plan in zip(starts, plans, strict=False) for at, i, slot in plan.predicted
    )
    places = sorted({place for place, _, _ in asked})
    number = {place: at for at, place in enumerate(places)}
    which_P = torch.tensor([number[place] for place, _, _ in asked])
    ids_P, slots_P = torch.tensor([i for _, i, _ in asked]), torch.tensor([slot for _, _, slot in asked])
    needed = torch.tensor(places).to(forward.device)
    state_ND = forward.hidden([plan.row for plan in plans], places=needed, trunk=trunk)
    sums, likeliest = torch.zeros(slots, dtype=torch.float64), torch.ones(slots, dtype=torch.bool)
    step = max(ROWS, LOGITS.get(forward.device.type, LOGITS_ELSEWHERE) // forward.model.config.vocabulary)
    for start in range(0, len(places), step):
        first, last = torch.searchsorted(which_P, torch.tensor([start, start + step])).tolist()
        rows_P, part_P = (which_P[first:last] - start).to(forward.device), ids_P[first:last].to(forward.device)
        values_P, first_P = _predicted(forward, state_ND[start : start + step], rows_P, part_P, greedy=greedy)
        sums.index_add_(0, slots_P[first:last], values_P.double().cpu())
        likeliest[slots_P[first:last][~first_P.cpu()]] = False
    return sums, likeliest


def _predicted(
    forward: Forward, state_ND: Tensor, rows_P: Tensor, ids_P: Tensor, *, greedy: bool
) -> tuple[Tensor, Tensor]:
    """The log-likelihood of each id behind its row, float32, and with `greedy` whether it is the likeliest.

    Logits are made and used up in blocks of columns: the normaliser is all that is kept of a block.
    """
    if forward.fused is not None:
        return forward.fused.predicted(state_ND, rows_P, ids_P, greedy=greedy)
    columns = max(1, LOGITS.get(forward.device.type, LOGITS_ELSEWHERE) // max(1, len(state_ND)))
    chosen_P = torch.empty(len(ids_P), dtype=torch.float32, device=forward.device)
    likeliest_N = torch.zeros(len(state_ND), dtype=torch.long, device=forward.device)
    best_N = torch.full((len(state_ND),), -math.inf, device=forward.device)
    parts = []
    for start, logits_NC in forward.logits(state_ND, columns):
        here = ((ids_P >= start) & (ids_P < start + logits_NC.shape[1])).nonzero()[:, 0]
        chosen_P[here] = logits_NC[rows_P[here], ids_P[here] - start].float()
        if greedy:  # of equal ones the first, as argmax has it
            high_N, at_N = logits_NC.max(-1)
            likeliest_N = torch.where(high_N > best_N, at_N + start, likeliest_N)
            best_N = torch.maximum(best_N, high_N.float())
        high_N = logits_NC.amax(-1).float()
        parts.append(logits_NC.float().sub_(high_N[:, None]).exp_().sum(-1).log_().add_(high_N))
    return chosen_P - torch.stack(parts).logsumexp(0)[rows_P], likeliest_N[rows_P] == ids_P


def _batches(order: Sequence[int], length: Callable[[int], int], forward: Forward) -> Iterator[list[int]]:
    """Cut numbers into batches of about `BATCH_TOKENS` tokens at most, as many for each thread, and alike; at least one
    in each."""
    most = BATCH_TOKENS.get(forward.device.type, BATCH_TOKENS_ELSEWHERE)
    total = sum(map(length, order))
    threads = min(forward.threads, 1 + total // LEAST_TOKENS)
    share = total / (threads * -(-total // (threads * most)))
    batch: list[int] = []
    cut = begun = 0
    for number in order:
        if batch and begun + length(number) / 2 > share * (cut + 1):
            yield batch
            batch, cut = [], cut + 1
        batch.append(number)
        begun += length(number)
    if batch:
        yield batch
