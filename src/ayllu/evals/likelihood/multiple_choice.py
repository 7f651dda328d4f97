"""Measure a model on a suite of multiple-choice items: how likely it finds each choice."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ayllu.evals.item import Item
from ayllu.evals.journal import Journal, weights_digest
from ayllu.evals.score import PARTIAL, Outcome, Scores
from ayllu.evals.suite import Suite
from ayllu.lab import progress

if TYPE_CHECKING:
    import torch

    from ayllu.evals.contamination.exact import Overlap
    from ayllu.evals.likelihood.log_probabilities import Question
    from ayllu.model.transformer import Transformer


FirstToken = Literal["bos", "none"]
"""What an item begins with: the model's BOS, as documents in training do, or nothing, as lm-eval has it by default."""


class Encoder(Protocol):
    """What is asked of a tokenizer: `ayllu.text.tokenizer.Tokenizer` is one."""

    bos: int

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


def evaluate_suite(
    model: Transformer,
    tokenizer: Encoder,
    suite: Suite,
    *,
    dtype: torch.dtype | None = None,
    trains_on: Mapping[str, Collection[str]] | None = None,
    overlap: Overlap | None = None,
    about: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    first_token: FirstToken = "bos",
) -> Scores:
    """The model's log-likelihood of every choice, as `Scores`.

    `dtype` is what the model computes in (None: float32; likelihoods are added up in float64 either way). `trains_on`
    says for each source in training which benchmarks' training parts it holds, by set name: such a set is labelled.
    `first_token` is what items begin with, and stands in the scores. `overlap` marks the items whose words stand in the
    training documents. `about` is kept in the scores. With a `folder`, answers are kept there as they come, a killed
    evaluation goes on from them, and `Scores.save` to the same folder clears them away.
    """
    import torch

    dtype = dtype or torch.float32
    conditions: dict[str, Any] = {
        "suite": suite.name,
        "dtype": str(dtype).removeprefix("torch."),
        "context": model.config.context,
    }
    conditions |= {"first_token": told_first_token(tokenizer, first_token)}
    cut = too_long(tokenizer, suite.items, first_token, context=model.config.context)
    journal = _journal(model, tokenizer, suite, conditions, folder)
    known = dict(journal.outcomes) if journal else {}
    with progress.bar(f"evaluate {suite.name}", total=len(suite.items), unit="items") as bar:
        bar.begin_at(len(known))
        left = [item for item in suite.items if item.id not in known]
        for outcome in _answers(model, tokenizer, left, dtype, first_token):
            known[outcome.id] = outcome
            if journal:
                journal.add(outcome)
            bar.advance()
    marked = (known[item.id] for item in suite.items)
    return Scores(
        outcomes=tuple(replace(o, overlap=overlap.of(o.id)) if overlap is not None else o for o in marked),
        trained_on=contaminated_by(suite.sets, trains_on or {}),
        about={**conditions, **({"cut": cut} if cut else {}), **(about or {})},
    )


def too_long(tokenizer: Encoder, items: Sequence[Item], first_token: FirstToken, *, context: int) -> dict[str, int]:
    """By set how many items the `context` does not hold: their beginning is left out."""
    whole = tokenizer.encode_batch([before + after for item in items for before, after in item.texts()])
    found, lengths = Counter[str](), (len(ids) for ids in whole)
    for item in items:
        longest = max(islice(lengths, len(item.choices)))
        found[item.set] += longest + (first_token == "bos") - 1 > context
    return {name: count for name, count in found.items() if count}


def _journal(
    model: Transformer, tokenizer: Encoder, suite: Suite, conditions: Mapping[str, Any], folder: Path | None
) -> Journal[Outcome] | None:
    if folder is None:
        return None
    sample = tokenizer.encode_batch([item.plain for item in suite.items[:100]])
    tokens = hashlib.sha256(json.dumps(sample).encode()).hexdigest()[:16]
    owner = {**conditions, "items": suite.digest, "weights": weights_digest(model), "tokens": tokens}
    return Journal(folder / PARTIAL, owner, Outcome.from_json)


def told_first_token(tokenizer: Encoder, first_token: FirstToken) -> dict[str, Any]:
    """For the scores: what items begin with, and its id. Held-out text always begins with BOS: nothing else predicts
    its first token."""
    return {"kind": first_token, "id": tokenizer.bos if first_token == "bos" else None}


def _answers(
    model: Transformer, tokenizer: Encoder, items: Sequence[Item], dtype: torch.dtype, first_token: FirstToken
) -> Iterator[Outcome]:
    from ayllu.evals.likelihood.log_probabilities import shared_log_likelihoods

    questions = tokenize_items(tokenizer, items, first_token)
    for number, answer in shared_log_likelihoods(model, questions, dtype=dtype):
        item = items[number]
        yield Outcome(
            id=item.id,
            set=item.set,
            digest=item.digest,
            gold=item.gold,
            log_likelihoods=tuple(answer),
            bytes=tuple(len(choice.encode()) for choice in item.choices),
            tokens=tuple(questions[number].scored),
        )


def contaminated_by(sets: Iterable[str], trains_on: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """For each set the sources that hold its benchmark's training part, where there are any."""
    labels = {name: tuple(sorted(source for source, held in trains_on.items() if name in held)) for name in sets}
    return {name: sources for name, sources in labels.items() if sources}


def tokenize_items(tokenizer: Encoder, items: Sequence[Item], first_token: FirstToken = "bos") -> list[Question]:
    """Each item's ids: BOS and context to begin with, then a continuation for each choice.

    Without a first token BOS stands only where nothing is given, since something must predict the first id.

    Given and scored text are parted where the tokens of the whole text allow it, which they do for every prompt here
    under Llama 3's split pattern. Where a token would span the boundary, the two are tokenized apart, so that every
    byte of the choice is scored and none of what was given.
    """
    from ayllu.evals.likelihood.log_probabilities import Question

    pairs = [pair for item in items for pair in item.texts()]
    begun = tokenizer.encode_batch([item.context for item in items])
    given = tokenizer.encode_batch([before for before, _ in pairs])
    whole = tokenizer.encode_batch([before + after for before, after in pairs])
    apart = [i for i, ids in enumerate(given) if whole[i][: len(ids)] != ids]
    for i, ids in zip(apart, tokenizer.encode_batch([pairs[i][1] for i in apart]), strict=True):
        whole[i] = given[i] + ids
    questions, row = [], 0
    for item, context in zip(items, begun, strict=True):
        rows = range(row, row := row + len(item.choices))
        # A lead may merge with the context's last token: then only BOS is shared, and the rest is given.
        shared = context if all(given[i][: len(context)] == context for i in rows) else []
        begins = [] if first_token == "none" and all(given[i] for i in rows) else [tokenizer.bos]
        questions.append(
            Question(
                beginning=[*begins, *shared],
                continuations=[whole[i][len(shared) :] for i in rows],
                given=[len(given[i]) - len(shared) for i in rows],
            )
        )
    return questions
