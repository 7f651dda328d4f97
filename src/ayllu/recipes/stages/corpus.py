"""From sources to packed rows: corpus, dialogues, vocabulary and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.progress import bar
from ayllu.recipes.stages.artifacts import Weights, open_corpus, open_dialogues, open_tokenizer, open_tokens

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus
    from ayllu.data.document import Document
    from ayllu.data.tokens.pack import TokenizedDocument
    from ayllu.text.tokenizer import Tokenizer

REMEMBERED = 8192
"""Documents of the corpus that finetuning sees beside the conversations, so that the model does not forget."""
BATCHED = 2048
"""Documents tokenized together."""

T = TypeVar("T")


def _sources_of_others(arguments: Mapping[str, Any]) -> list[object]:
    """The readers of those sources that are not ours: reading our code does not lead to them."""
    from ayllu.data.sources.registry import OTHERS

    return [OTHERS.find(name).read for name in arguments["sources"] if name in OTHERS.names()]


@stage(identity="corpus", makes=open_corpus, reaches=_sources_of_others, added={"language": ("en",), "rules": ()})
def corpus(
    ctx: Context,
    *,
    sources: tuple[str, ...],
    licence: str | None,
    language: tuple[str, ...] = ("en",),
    rules: tuple[str, ...] = (),
) -> None:
    """Clean documents of `sources`, in one of these languages, by the rules with these limits."""
    from ayllu.data.cleaning.clean import build_corpus
    from ayllu.data.cleaning.options import read_rules

    summary = build_corpus(sources, ctx.folder, ctx.cache, licence=licence, rules=read_rules(language, rules))
    ctx.note("documents", summary.documents)
    ctx.note("bytes", summary.bytes)
    ctx.note("dropped", summary.dropped)
    ctx.note("sources", {source["name"]: source.get("documents", 0) for source in summary.sources})


@stage(identity="dialogues", makes=open_dialogues, reruns=True)
def dialogues(ctx: Context, *, seed: int) -> None:
    """Conversations to learn turns from."""
    from ayllu.data.conversations.dialogue import build_dialogues

    build_dialogues(ctx.folder, ctx.cache, seed=seed)


@stage(identity="learn_tokenizer", makes=open_tokenizer)
def learn_tokenizer(ctx: Context, text: Handle[Corpus], *, size: int) -> None:
    """A vocabulary of `size` entries from the training documents."""
    from ayllu.text.tokenizer import Tokenizer

    with bar("learning the vocabulary", unit="documents") as progress:
        texts = (document.text for document in _counted(text.value.documents("train"), progress.advance))
        tokenizer = Tokenizer.learn(texts, size)
    tokenizer.save(ctx.folder)
    ctx.note("size", tokenizer.size)


@stage(identity="its_tokenizer", makes=open_tokenizer)
def tokenizer_of(ctx: Context, model: Handle[Weights]) -> None:
    """The tokenizer of a model."""
    from ayllu.text.tokenizer import Tokenizer

    Tokenizer.load(model.value).save(ctx.folder)


@stage(identity="tokenize", makes=open_tokens)
def tokenize(ctx: Context, text: Handle[Corpus], tokenizer: Handle[Tokenizer], *, length: int) -> None:
    """Packed rows of the training documents, source by source."""
    from ayllu.data.tokens.pack import write_tokens

    vocabulary = tokenizer.value
    documents = text.value
    sources = {name: _tokenized(documents.documents("train", name), vocabulary) for name in source_names(documents)}
    header = write_tokens(ctx.folder, sources, length=length, **_ids(vocabulary))
    ctx.note("tokens", {name: rows.tokens for name, rows in header.sources.items()})


@stage(identity="tokenize_chat", makes=open_tokens)
def tokenize_chat(
    ctx: Context, chats: Handle[Dialogues], text: Handle[Corpus], tokenizer: Handle[Tokenizer], *, length: int
) -> None:
    """Packed conversations, of which only the assistant's words are to be predicted, and some documents to remember."""
    from ayllu.data.tokens.pack import TokenizedDocument, write_tokens
    from ayllu.text.chat import NO_TEMPLATE, Message, render_masked

    vocabulary = tokenizer.value
    if not vocabulary.holds_conversations:
        raise UserError(NO_TEMPLATE)

    def rendered() -> Iterator[TokenizedDocument]:
        for dialogue in chats.value.dialogues("train"):
            messages = [Message(role=turn["role"], content=turn["content"]) for turn in dialogue["messages"]]
            ids, predict = render_masked(messages, vocabulary)
            yield TokenizedDocument(ids=ids, predict=predict)

    with bar("tokenizing conversations", unit="conversations") as progress:
        documents = _tokenized(islice(text.value.documents("train"), REMEMBERED), vocabulary)
        sources = {"everyday-chat": _counted(rendered(), progress.advance), "remembered": documents}
        header = write_tokens(ctx.folder, sources, length=length, masked=True, **_ids(vocabulary))
    ctx.note("conversations", header.sources["everyday-chat"].documents)


def source_names(text: Corpus) -> set[str]:
    """Sources of which documents are left."""
    return {source["name"] for source in used_sources(text)}


def used_sources(text: Corpus) -> list[dict[str, Any]]:
    """What the corpus says of each source of which documents are left."""
    return [source for source in text.sources if source.get("documents")]


def _ids(tokenizer: Tokenizer) -> dict[str, Any]:
    from ayllu.text.llama3_format import PAD

    return {"vocabulary": tokenizer.size, "bos": tokenizer.bos, "pad": tokenizer.special.get(PAD, tokenizer.eos)}


def _tokenized(documents: Iterator[Document], tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    from ayllu.data.tokens.pack import TokenizedDocument

    with bar("tokenizing", unit="documents") as progress:
        while texts := [document.text for document in islice(documents, BATCHED)]:
            for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
                yield TokenizedDocument(ids=[tokenizer.bos, *ids, tokenizer.eos], bytes=len(text.encode()))
            progress.advance(len(texts))


def _counted(items: Iterable[T], advance: Callable[[], None]) -> Iterator[T]:
    for item in items:
        advance()
        yield item
