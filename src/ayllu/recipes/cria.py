"""cria, a young llama: from raw text to a signed chat model in the minutes that you give it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle
from ayllu.recipes.limits import (
    check_budget,
    check_least,
    check_licences,
    check_multiple,
    check_positive,
    check_rules,
    check_seed,
)
from ayllu.recipes.stages.artifacts import Release, ScoreFolder, Weights
from ayllu.recipes.stages.corpus import corpus, dialogues, learn_tokenizer, tokenize, tokenize_chat, used_sources
from ayllu.recipes.stages.evaluate import evaluate
from ayllu.recipes.stages.pretrain import finetune, plan_pretraining, pretrain
from ayllu.recipes.stages.release import PRETRAINING, Contents, policy_arguments, previous_argument, release_stage
from ayllu.train.ladder import HEAD

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus

EVERYDAY = ("everyday-english", "sotu", "moby-dick", "austen")
MIX = {"everyday-english": 0.94, "sotu": 0.02, "moby-dick": 0.01, "austen": 0.03}
"""Shares of the training samples: mostly the plain English that a small model can learn in minutes."""


def cria(
    *,
    budget: float = 10.0,
    seed: int = 0,
    sources: tuple[str, ...] = EVERYDAY,
    licence: str | None = None,
    language: tuple[str, ...] = ("en",),
    rules: tuple[str, ...] = (),
    vocabulary: int = 4096,
    length: int = 256,
    items: int = 1000,
    speed: float | None = None,
    lr: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    batch: int | None = None,
    policy: Path | None = None,
    hazards: int | None = None,
    previous: Path | None = None,
    name: str = "cria",
    private: bool = False,
) -> Handle[Release]:
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
    language
        Languages to keep documents in, by ISO 639-1 codes such as en es, or any.
    rules
        Limits of the cleaning, as NAME=LIMIT: words_min=5, short_lines_max=off. A wrong name lists all of them.
    vocabulary
        Entries of the tokenizer.
    length
        Tokens in a training row.
    items
        Questions from each benchmark.
    speed
        Tokens per second to plan with; measured when not given. With the same value a run can be repeated exactly.
    lr
        Peak learning rate of the matrices (Muon), 0.01 when not given; that of embedding and norms is three times it.
    width
        Features of the residual stream, a multiple of 64; the budget chooses when not given.
    depth
        Transformer blocks; the budget chooses when not given.
    batch
        Rows of a training step; 16 when not given.
    policy
        Rules of the release, signed by `ayllu release policy`: thresholds of its scores. Ayllu's own when not given.
    hazards
        Also measure the hazard suites, with so many items of each: the card shows them, and the policy's thresholds of
        about/hazards/… decide by them. Not measured when not given.
    previous
        The release before, by its name or folder: what changed since stands in the new one, with scores paired by
        item.
    name
        Name of the release, and of the channel that points to it.
    private
        Keep the model for yourself: it has a name, serves and exports, is not signed, and any licence will do.
    """
    check_budget(budget, usual=10)
    check_seed(seed)
    if not sources:
        raise UserError("no source is named; give at least one with --sources, such as everyday-english")
    check_least(512, vocabulary=vocabulary)
    check_least(16, length=length)
    check_least(1, items=items)
    if hazards is not None:
        check_least(2, hazards=hazards)
    if speed is not None and speed <= 0:
        raise UserError(f"speed is {speed:g} tokens per second; give a number above 0 or leave it out to measure")
    check_positive(lr=lr)
    check_least(1, depth=depth, batch=batch)
    check_multiple(HEAD, width=width)
    signed, before = policy_arguments(policy, private=private)
    since = previous_argument(previous, private=private)
    mix = {source: MIX.get(source, 1.0) for source in sources}

    check_rules(language, rules)
    check_licences(sources, licence=licence, policy=signed)
    text = corpus(sources=tuple(sources), licence=licence, language=tuple(language), rules=tuple(rules))
    tokenizer = learn_tokenizer(text, size=vocabulary)
    tokens = tokenize(text, tokenizer, length=length)
    plan = plan_pretraining(
        tokens, budget=budget, seed=seed, speed=speed, mix=mix, lr=lr, width=width, depth=depth, batch=batch
    )
    base = pretrain(tokens, tokenizer, plan, seed=seed, mix=mix)
    chats = dialogues(seed=seed)
    chat_tokens = tokenize_chat(chats, text, tokenizer, length=length)
    chat = finetune(base, chat_tokens, tokenizer, plan, seed=seed, share=0.15)
    scores = evaluate(chat, base, text, tokenizer, items=items, policy=before, hazards=hazards)
    return release_chat(chat, base, text, chats, scores, name=name, version="1.0.0", policy=signed, previous=since)


@release_stage(identity="release", added={"previous": None})
def release_chat(
    ctx: Context,
    chat: Handle[Weights],
    base: Handle[Weights],
    text: Handle[Corpus],
    chats: Handle[Dialogues],
    scores: Handle[ScoreFolder],
    *,
    name: str,
    version: str,
    policy: str,
    previous: str | None = None,
) -> Contents:
    """The chat model, with the curves of both trainings."""
    from ayllu.recipes.stages.figures import draw_losses
    from ayllu.recipes.stages.proof import origins, training
    from ayllu.release.proof.make import Evidence

    figure = ctx.scratch / "loss.png"
    draw_losses({"pretrain": base.value / "losses.jsonl", "finetune": chat.value / "losses.jsonl"}, figure)
    return Contents(
        name=name,
        version=version,
        policy=policy,
        weights=chat.value,
        scores=scores.value,
        sources=used_sources(text.value),
        dialogues=chats.value.sources,
        records=_records(base.artifact.manifest, chat.artifact.record, scores.artifact.record),
        figures=[figure],
        previous=previous,
        evidence=Evidence(
            trainings=[training("pretrain", base), training("finetune", chat, kept=1.0)], origins=origins(text)
        ),
    )


def _records(pretrained: dict[str, Any], tuned: dict[str, Any], scored: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the training: predicted beside measured, both of the pretraining."""
    record, predictions = pretrained["record"], pretrained["predictions"]
    heldout = scored["base_bits_per_byte"]
    main = "everyday-english" if "everyday-english" in heldout else next(iter(heldout), None)
    return {
        "predicted": {"seconds": predictions["seconds"], "bits_per_byte": predictions["bits_per_byte"]},
        "measured": {"seconds": record["seconds"], "bits_per_byte": heldout.get(main) if main else None},
        "pretraining": {name: record[name] for name in PRETRAINING},
        "finetuning": {name: tuned[name] for name in ("steps", "tokens", "seconds", "final_loss", "loss")},
        "machine": pretrained["machine"],
    }
