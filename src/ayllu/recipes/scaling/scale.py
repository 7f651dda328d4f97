"""Ladders of recipes by name: `ayllu scale cria`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Handle
from ayllu.recipes.cria import EVERYDAY, MIX
from ayllu.recipes.limits import check_budget, check_least, check_positive, check_rules, check_seed
from ayllu.recipes.scaling.ladder import FEWEST_RUNGS, MOST_RUNGS
from ayllu.recipes.scaling.stages import fit_ladder, law_so_far, scaling_report, train_rung
from ayllu.recipes.scaling.tasks import task_law
from ayllu.recipes.stages.corpus import corpus, learn_tokenizer, tokenize


def cria(
    *,
    rungs: int = 5,
    budget: float = 40.0,
    seed: int = 0,
    sources: tuple[str, ...] = EVERYDAY,
    licence: str | None = None,
    language: tuple[str, ...] = ("en",),
    rules: tuple[str, ...] = (),
    vocabulary: int = 4096,
    length: int = 256,
    documents: int = 400,
    items: int = 0,
    speed: float | None = None,
) -> Handle[dict[str, Any]]:
    """Train a ladder of sizes of the recipe cria, and predict the largest from the others before it is trained.

    Parameters
    ----------
    rungs
        Sizes, the smallest first; the largest is held out and predicted.
    budget
        Minutes of all trainings together; how many tokens each size sees follows from it and from this machine's speed.
    seed
        Draws the first weights and the order of the data.
    sources
        What to learn from: names of packaged sources, `folder:PATH` or `hf:OWNER/NAME`.
    licence
        Licence (SPDX identifier) of your own folders and data sets.
    language
        Languages to keep documents in, by ISO 639-1 codes such as en es, or any.
    rules
        Limits of the cleaning, as NAME=LIMIT.
    vocabulary
        Entries of the tokenizer.
    length
        Tokens in a training row.
    documents
        Held-out documents to measure the loss on: everyday English where it is among the sources, else the first.
    items
        Items of HellaSwag, PIQA and ARC-Easy each that every size is asked, so that their scores are laid against the
        loss and foretold as it is; none when 0.
    speed
        FLOP/s to plan with; measured on each size when not given. With the same value a ladder can be repeated exactly.
    """
    if not FEWEST_RUNGS <= rungs <= MOST_RUNGS:
        raise UserError(
            f"a ladder of {rungs} rungs cannot be; give --rungs from {FEWEST_RUNGS} (three make a law, which predicts "
            f"the fourth) to {MOST_RUNGS}"
        )
    check_budget(budget, usual=40)
    check_seed(seed)
    check_least(512, vocabulary=vocabulary)
    check_least(16, length=length)
    check_least(1, documents=documents)
    check_least(0, items=items)
    check_positive(speed=speed)
    check_rules(language, rules)
    if not sources:
        raise UserError("no source is named; give at least one with --sources, such as everyday-english")
    mix = {source: MIX.get(source, 1.0) for source in sources}
    text = corpus(sources=tuple(sources), licence=licence, language=tuple(language), rules=tuple(rules))
    tokenizer = learn_tokenizer(text, size=vocabulary)
    tokens = tokenize(text, tokenizer, length=length)
    ladder = fit_ladder(tokens, rungs=rungs, budget=budget, seed=seed, speed=speed, mix=mix)
    law: Handle[dict[str, Any]] | None = None
    scores: Handle[dict[str, Any]] | None = None
    for index in range(rungs):
        known = index >= FEWEST_RUNGS - 1
        rung = train_rung(
            tokens, tokenizer, text, ladder, law if known else None, scores if known else None,
            index=index, seed=seed, mix=mix, documents=documents,
        )  # fmt: skip
        last = index + 1 == rungs
        before, law = law, None if last else law_so_far(law, rung, ladder, index=index, seed=seed)
        if items:
            scores = task_law(scores, rung, tokenizer, law, index=index, items=items, seed=seed)
        if last:
            assert before is not None
            return scaling_report(before, rung, ladder, scores, recipe="cria", index=index, seed=seed)
    raise AssertionError("the last rung makes the report")


LADDERS: dict[str, Callable[..., Handle[dict[str, Any]]]] = {"cria": cria}
"""Recipes that have a ladder of sizes."""
