"""The stages that recipes are made of: each wires a room's functions to inputs, arguments and an artifact.

Heavy imports stand inside the stages, so that `ayllu --help` needs none of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, stage
from ayllu.lab.progress import bar

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus
    from ayllu.data.document import Document
    from ayllu.data.tokens.pack import TokenizedDocument, Tokens
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.budget import BudgetPlan
    from ayllu.train.loop import TrainConfig, TrainResult

TRAINED_ON = {
    "everyday-english": ("hellaswag",),
    "boolq-passages": ("boolq",),
    "everyday-chat": ("piqa", "social-iqa"),
}
"""Benchmarks whose training part a source holds: their scores are labelled so."""

REMEMBERED = 8192
"""Documents of the corpus that finetuning sees beside the conversations, so that the model does not forget."""
FINETUNE_MIX = {"everyday-chat": 0.75, "remembered": 0.25}

BATCHED = 2048
"""Documents tokenized together."""


def open_corpus(folder: Path) -> Corpus:
    from ayllu.data.corpus import Corpus

    return Corpus(folder)


def open_dialogues(folder: Path) -> Dialogues:
    from ayllu.data.conversations.dialogue import Dialogues

    return Dialogues(folder)


def open_tokenizer(folder: Path) -> Tokenizer:
    from ayllu.text.tokenizer import Tokenizer

    return Tokenizer.load(folder)


def open_tokens(folder: Path) -> Tokens:
    from ayllu.data.tokens.pack import Tokens

    return Tokens(folder)


def open_plan(folder: Path) -> BudgetPlan:
    from ayllu.train.budget import BudgetPlan

    return BudgetPlan.read(folder / "plan.json")


@stage(makes=open_corpus)
def corpus(ctx: Context, *, sources: tuple[str, ...], licence: str | None) -> None:
    """Clean documents of `sources`."""
    from ayllu.data.cleaning.clean import build_corpus

    summary = build_corpus(sources, ctx.folder, ctx.cache, licence=licence)
    ctx.note("documents", summary.documents)
    ctx.note("bytes", summary.bytes)
    ctx.note("dropped", summary.dropped)
    ctx.note("sources", {source["name"]: source.get("documents", 0) for source in summary.sources})


@stage(makes=open_dialogues)
def dialogues(ctx: Context, *, seed: int) -> None:
    """Conversations to learn turns from."""
    from ayllu.data.conversations.dialogue import build_dialogues

    build_dialogues(ctx.folder, ctx.cache, seed=seed)


@stage(makes=open_tokenizer)
def learn_tokenizer(ctx: Context, text: Corpus, *, size: int) -> None:
    """A vocabulary of `size` entries from the training documents."""
    from ayllu.text.tokenizer import Tokenizer

    with bar("learning the vocabulary", unit="documents") as progress:

        def texts() -> Iterator[str]:
            for document in text.documents("train"):
                progress.advance()
                yield document.text

        tokenizer = Tokenizer.learn(texts(), size)
    tokenizer.save(ctx.folder)
    ctx.note("size", tokenizer.size)


@stage(makes=open_tokens)
def tokenize(ctx: Context, text: Corpus, tokenizer: Tokenizer, *, length: int) -> None:
    """Packed rows of the training documents, source by source."""
    from ayllu.data.tokens.pack import write_tokens

    sources = {name: _pieces(text.documents("train", name), tokenizer) for name in _names(text)}
    header = write_tokens(ctx.folder, sources, length=length, **_ids(tokenizer))
    ctx.note("tokens", {name: rows.tokens for name, rows in header.sources.items()})


@stage(makes=open_tokens)
def tokenize_chat(ctx: Context, chats: Dialogues, text: Corpus, tokenizer: Tokenizer, *, length: int) -> None:
    """Packed conversations, of which only the assistant's words are to be predicted, and some documents to remember."""
    from ayllu.data.tokens.pack import TokenizedDocument, write_tokens
    from ayllu.text.chat import Message, render_masked

    def pieces() -> Iterator[TokenizedDocument]:
        for dialogue in chats.dialogues("train"):
            messages = [Message(role=turn["role"], content=turn["content"]) for turn in dialogue["messages"]]
            ids, predict = render_masked(messages, tokenizer)
            yield TokenizedDocument(ids=ids, predict=predict)

    with bar("tokenizing conversations", unit="conversations") as progress:
        documents = _pieces(islice(text.documents("train"), REMEMBERED), tokenizer)
        sources = {"everyday-chat": _counted(pieces(), progress.advance), "remembered": documents}
        header = write_tokens(ctx.folder, sources, length=length, masked=True, **_ids(tokenizer))
    ctx.note("conversations", header.sources["everyday-chat"].documents)


def _ids(tokenizer: Tokenizer) -> dict[str, Any]:
    from ayllu.text.llama3_format import PAD

    return {"vocabulary": tokenizer.size, "bos": tokenizer.bos, "pad": tokenizer.special.get(PAD, tokenizer.eos)}


def _pieces(documents: Iterator[Document], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    from ayllu.data.tokens.pack import TokenizedDocument

    with bar("tokenizing", unit="documents") as progress:
        while texts := [document.text for document in islice(documents, BATCHED)]:
            for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
                yield TokenizedDocument(ids=[tokenizer.bos, *ids, tokenizer.eos], bytes=len(text.encode()))
            progress.advance(len(texts))


def _counted(items: Iterable[Any], advance: Any) -> Iterator[Any]:
    for item in items:
        advance()
        yield item


@stage(makes=open_plan)
def fit_model(
    ctx: Context, tokens: Tokens, *, budget: float, seed: int, speed: float | None, mix: dict[str, float]
) -> None:
    """Shape, steps and prediction for `budget` minutes on this machine."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.train.budget import plan_budget

    loader = Loader(tokens, seed=seed, weights=_present(tokens, mix))
    plan_budget(loader, tokens.header, minutes=budget, seed=seed, speed=speed).write(ctx.folder / "plan.json")


def _present(tokens: Tokens, mix: dict[str, float]) -> dict[str, float] | None:
    """The mix without sources that are not there (an optional one may be out of reach)."""
    there = {name: weight for name, weight in mix.items() if name in tokens.header.sources}
    return there or None


@stage(distributed=True)
def pretrain(
    ctx: Context, tokens: Tokens, tokenizer: Tokenizer, plan: BudgetPlan, *, seed: int, mix: dict[str, float]
) -> None:
    """Weights from scratch."""
    import torch

    from ayllu.data.tokens.loader import Loader
    from ayllu.model.transformer import Transformer
    from ayllu.train.loop import Execution, train

    ctx.predict("seconds", round(plan.seconds, 1))
    ctx.predict("bits_per_byte", plan.bits_per_byte)
    # Of a spread model each process makes its part alone; what a single process draws is the same.
    with torch.device("meta" if ctx.layout else "cpu"):
        model = Transformer(plan.model)
    if not ctx.layout:
        model.initialise(seed)
    loader = Loader(tokens, seed=seed, weights=_present(tokens, mix))
    execution = Execution(layout=ctx.layout, logs=ctx.logs)
    result = train(model, loader, plan.train, scratch=ctx.scratch, title="pretrain", execution=execution, seed=seed)
    _keep(ctx, tokenizer, result, plan.train, loader.length)


@stage(distributed=True)
def finetune(
    ctx: Context, base: Path, chats: Tokens, tokenizer: Tokenizer, plan: BudgetPlan, *, seed: int, share: float
) -> None:
    """The same weights after conversations; takes about `share` of the budget."""
    from ayllu.data.tokens.loader import Loader
    from ayllu.model.files import hf
    from ayllu.train.loop import Execution, train

    loader = Loader(chats, seed=seed, weights=FINETUNE_MIX)
    config = plan.finetune(share, rows=chats.header.sources["everyday-chat"].rows)
    ctx.predict("seconds", round(config.steps * config.batch * loader.length / plan.tokens_per_second, 1))
    model = hf.load(base)
    execution = Execution(layout=ctx.layout, logs=ctx.logs)
    result = train(model, loader, config, scratch=ctx.scratch, title="finetune", execution=execution)
    _keep(ctx, tokenizer, result, config, loader.length)


def _keep(ctx: Context, tokenizer: Tokenizer, result: TrainResult, config: TrainConfig, length: int) -> None:
    from ayllu.model.files import hf
    from ayllu.train.flops import training_flops
    from ayllu.train.loop import write_losses

    if not ctx.main:
        return
    model = result.model
    hf.save(ctx.folder, model, read=result.read)
    tokenizer.save(ctx.folder)
    write_losses(ctx.folder / "losses.jsonl", result.losses)
    last = [loss for loss in result.losses[-min(50, len(result.losses)) :] if math.isfinite(loss)]
    seen = config.steps * config.batch * length
    ctx.note("seconds", round(result.seconds, 1))
    ctx.note("waited_for_checkpoints", round(result.waited, 2))
    ctx.note("final_loss", result.losses[-1])
    ctx.note("loss", math.fsum(last) / max(len(last), 1))
    ctx.note("steps", config.steps)
    ctx.note("tokens", result.tokens)
    ctx.note("parameters", model.config.parameters)
    ctx.note("tokens_per_second", round(seen / result.seconds) if result.seconds else None)
    ctx.note("flops", training_flops(model.config, length) * seen)
    ctx.note("configuration", dataclasses.asdict(model.config))


@stage()
def evaluate(ctx: Context, model: Path, base: Path, text: Corpus, tokenizer: Tokenizer, *, items: int) -> None:
    """Scores of the finished model: benchmark sets, and held-out bits per byte by source; these of its base too."""
    import torch

    from ayllu.evals.contamination import find_overlap
    from ayllu.evals.likelihood.heldout import bits_per_byte, document_bits
    from ayllu.evals.likelihood.multiple_choice import evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.model.files import hf
    from ayllu.train.machine import bf16_pays

    weights = hf.load(model).eval()
    dtype = torch.bfloat16 if bf16_pays() else torch.float32
    suite = load_suite("small", items_per_set=items, cache=ctx.cache)
    trained = {name: held for name, held in TRAINED_ON.items() if name == "everyday-chat" or name in _names(text)}
    overlap = find_overlap(suite.items, (document.text for document in text.documents("train")))
    scores = evaluate_suite(
        weights, tokenizer, suite, dtype=dtype, trains_on=trained, overlap=overlap, folder=ctx.scratch / "items"
    )
    heldout = [(document.source, document.text) for document in text.documents("heldout")]
    scores = scores.with_documents(document_bits(weights, tokenizer, heldout, total=len(heldout), dtype=dtype))
    scores.save(ctx.folder)
    stated = scores.as_json()
    ctx.note("bits_per_byte", {name: score_["value"] for name, score_ in stated["bits_per_byte"].items()})
    before = bits_per_byte(hf.load(base).eval(), tokenizer, heldout, dtype=dtype)
    ctx.note("base_bits_per_byte", {name: interval.value for name, interval in before.items()})


def _names(text: Corpus) -> set[str]:
    return {source["name"] for source in text.sources if source.get("documents")}


@stage(makes=lambda folder: folder / "release")
def release(
    ctx: Context,
    chat: Path,
    base: Path,
    text: Corpus,
    chats: Dialogues,
    scores: Path,
    *,
    name: str,
    version: str,
    policy: str,
) -> None:
    """A signed folder that stands alone."""
    from ayllu.lab.store import read_manifest
    from ayllu.release.build import build_release
    from ayllu.release.policy import find_policy

    pretrained, tuned = read_manifest(base), read_manifest(chat)
    records = facts(pretrained, tuned, read_manifest(scores))
    figure = ctx.scratch / "loss.png"
    draw_losses({"pretrain": base / "losses.jsonl", "finetune": chat / "losses.jsonl"}, figure)
    summary = build_release(
        ctx.folder / "release",
        weights=chat,
        scores=scores,
        sources=[source for source in text.sources if source.get("documents")],
        dialogues=chats.sources,
        records=records,
        name=name,
        version=version,
        policy=find_policy(policy),
        figures=[figure],
    )
    for field, value in records.items():
        ctx.note(field, value)
    ctx.note("gates", list(summary.gates))
    ctx.note("model_digest", summary.model_digest)


def facts(pretrained: dict[str, Any], tuned: dict[str, Any], scored: dict[str, Any]) -> dict[str, Any]:
    """What the release's card says of the training: predicted beside measured, both of the pretraining."""
    first, second = pretrained["record"], tuned["record"]
    heldout = scored["record"]["base_bits_per_byte"]
    main = "everyday-english" if "everyday-english" in heldout else next(iter(heldout), None)
    return {
        "predicted": {
            "seconds": pretrained["predictions"]["seconds"],
            "bits_per_byte": pretrained["predictions"]["bits_per_byte"],
        },
        "measured": {"seconds": first["seconds"], "bits_per_byte": heldout.get(main) if main else None},
        "pretraining": {
            name: first[name] for name in ("steps", "tokens", "tokens_per_second", "flops", "final_loss", "loss")
        },
        "finetuning": {name: second[name] for name in ("steps", "tokens", "seconds", "final_loss", "loss")},
        "machine": pretrained["machine"],
    }


def draw_losses(curves: dict[str, Path], path: Path) -> None:
    """Loss by step of each stage, thin, with its running mean."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    start = 0
    for (name, losses_path), colour in zip(curves.items(), ("#1f6f8b", "#c8553d"), strict=True):
        losses = np.array([json.loads(line)["loss"] or math.nan for line in losses_path.read_text().splitlines()])
        steps = np.arange(start, start + len(losses))
        window = max(len(losses) // 40, 1)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes.plot(steps, losses, color=colour, linewidth=0.5, alpha=0.3)
        axes.plot(steps[window - 1 :], smooth, color=colour, linewidth=1.8, label=name)
        start += len(losses)
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)
