"""cria, a young llama: from raw text to a signed chat model in the minutes that you give it."""

from __future__ import annotations

from typing import Any

from ayllu.lab.error import UserError
from ayllu.recipes.stages import pretrain as stages

EVERYDAY = ("everyday-english", "sotu", "moby-dick", "austen")
MIX = {"everyday-english": 0.94, "sotu": 0.02, "moby-dick": 0.01, "austen": 0.03}
"""Shares of the training samples: mostly the plain English that a small model can learn in minutes."""


def cria(
    *,
    budget: float = 10.0,
    seed: int = 0,
    sources: tuple[str, ...] = EVERYDAY,
    licence: str | None = None,
    vocabulary: int = 4096,
    length: int = 256,
    items: int = 1000,
    speed: float | None = None,
    name: str = "cria",
) -> Any:
    """Train a small chat model from scratch on this machine, measure it, and release it.

    Parameters
    ----------
    budget
        Minutes of pretraining. Model size and number of steps follow from it and from this machine's speed.
    seed
        Draws the first weights and the order of the data.
    sources
        What to learn from: names of packaged sources, `folder:PATH` or `hf:OWNER/NAME`.
    licence
        Licence (SPDX identifier) of your own folders and data sets: a release needs to know it.
    vocabulary
        Entries of the tokenizer.
    length
        Tokens in a training row.
    items
        Questions from each benchmark.
    speed
        Tokens per second to plan with; measured when not given. With the same value a run can be repeated exactly.
    name
        Name of the release, and of the channel that points to it.
    """
    if not 0 < budget <= 60 * 24 * 365:
        raise UserError(f"the budget is {budget:g} minutes; give a number above 0, such as --budget 10")
    if not sources:
        raise UserError("no source is named; give at least one with --sources, such as everyday-english")
    for label, value, least in (("vocabulary", vocabulary, 512), ("length", length, 16), ("items", items, 1)):
        if value < least:
            raise UserError(f"{label} is {value}; give at least {least}")
    if speed is not None and speed <= 0:
        raise UserError(f"speed is {speed:g} tokens per second; give a number above 0 or leave it out to measure")
    mix = {source: MIX.get(source, 1.0) for source in sources}

    text = stages.corpus(sources=tuple(sources), licence=licence)
    tokenizer = stages.learn_tokenizer(text, size=vocabulary)
    tokens = stages.tokenize(text, tokenizer, length=length)
    plan = stages.fit_model(tokens, budget=budget, seed=seed, speed=speed, mix=mix)
    base = stages.pretrain(tokens, tokenizer, plan, seed=seed, mix=mix)
    chats = stages.dialogues(seed=seed)
    chat_tokens = stages.tokenize_chat(chats, text, tokenizer, length=length)
    chat = stages.finetune(base, chat_tokens, tokenizer, plan, seed=seed, share=0.15)
    scores = stages.evaluate(chat, base, text, tokenizer, items=items)
    return stages.release(chat, base, text, chats, scores, name=name, version="1.0.0", policy="open")
