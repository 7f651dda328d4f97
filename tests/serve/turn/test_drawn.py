"""Log-probabilities: every id of an answer once, its bytes those of the text, however characters and calls are cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.serve.completions.layout import ChatLayout
from ayllu.serve.engines.decode import text_chunks
from ayllu.serve.engines.engine import DrawnToken, GenerationRequest, TextChunk
from ayllu.serve.responses.events import EventWriter
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.drawn import UNLIKELIEST, told_tokens
from ayllu.serve.turn.events import End, Event
from ayllu.serve.turn.reader import Reader
from ayllu.text.llama3_format import PYTHON_TAG
from support.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
SPECIAL = sorted(set(TOKENIZER.special.values()) - TOKENIZER.stops)
TAG = TOKENIZER.special[PYTHON_TAG]
IDS = st.lists(
    st.one_of(
        st.sampled_from(TOKENIZER.encode("a漢é🦙. ")),  # parts of characters, in any order
        st.sampled_from([*SPECIAL[:3], TAG]),
        st.integers(0, TOKENIZER.size - 1).filter(lambda number: number not in TOKENIZER.stops),
    ),
    max_size=24,
)


def drawn_as(ids: list[int]) -> list[DrawnToken]:
    """Ids with log-probabilities that no two share, one of them not finite."""
    tops = [((number, -0.125 * i), (TAG, float("-inf"))) for i, number in enumerate(ids)]
    return [DrawnToken(id=number, logprob=-0.1 * i, top=tops[i]) for i, number in enumerate(ids)]


def events_of(ids: list[int], *, stop: list[str], shown: frozenset[int]) -> list[Event]:
    """What an answer of these ids is, from the engine's chunks on."""
    request = GenerationRequest(prompt=[0], max_tokens=100, stop=stop, shown=shown, logprobs=2)

    async def stream(*_: Any, **__: Any) -> AsyncIterator[TextChunk]:
        chunks = text_chunks(
            iter(drawn_as(ids)), TOKENIZER, request, threading.Event(), cached=lambda: 0, finish=lambda _: "stop"
        )
        for chunk in chunks:
            yield chunk

    queue = SimpleNamespace(engine=SimpleNamespace(tokenizer=TOKENIZER), guard=None, stream=stream)
    answer = Answer(cast(Any, queue), request, Reader(offered=()), client="", seconds=60)

    async def collect() -> list[Event]:
        return [event async for event in answer.events()]

    return asyncio.run(collect())


def decoded(entries: list[dict[str, Any]]) -> str:
    return bytes(byte for entry in entries for byte in entry["bytes"]).decode(errors="replace")


@settings(deadline=None, max_examples=150)
@given(ids=IDS, tag=st.booleans(), stop=st.sampled_from([[], ["."], ["é", " a"], ["漢"]]))
def test_bytes_are_the_text_and_no_likelihood_is_lost(ids: list[int], tag: bool, stop: list[str]) -> None:
    shown = frozenset([TAG]) if tag else frozenset[int]()
    events = events_of(ids, stop=stop, shown=shown)
    layout = ChatLayout("m", TOKENIZER, logprobs=True, legacy=False, shown=shown)
    choice, streamed = layout.choice(0), layout.choice(0)
    deltas = [delta for event in events for delta in streamed.deltas(event)]
    for event in events:
        choice.add(event)
    whole = choice.whole(0)
    text, entries = whole["message"]["content"], whole["logprobs"]["content"] if whole["logprobs"] else []
    assert [entry for delta in deltas for entry in (delta["logprobs"] or {"content": []})["content"]] == entries
    assert "".join(delta["delta"].get("content") or "" for delta in deltas) == text
    assert entries == told_tokens(TOKENIZER, drawn_as(ids), shown)[: len(entries)]
    if stop:
        assert decoded(entries).startswith(text) or text.endswith("\ufffd")
    else:
        assert len(entries) == len(ids)
        assert decoded(entries) == text
        assert sum(entry["logprob"] for entry in entries) == sum(token.logprob for token in drawn_as(ids))
    assert all(entry["top_logprobs"][1]["logprob"] == UNLIKELIEST for entry in entries)


@settings(deadline=None, max_examples=50)
@given(ids=IDS)
def test_responses_tell_the_same(ids: list[int]) -> None:
    writer = EventWriter(told=partial(told_tokens, TOKENIZER))
    sent: list[dict[str, Any]] = []
    for event in events_of(ids, stop=[], shown=frozenset()):
        sent += writer.rest(event) if isinstance(event, End) else writer.write(event)
    sent += writer.close("completed")
    entries = told_tokens(TOKENIZER, drawn_as(ids))
    (item,) = writer.output
    (part,) = item["content"]
    if not part["text"]:  # ids that are no text: there are no words to tell them with
        return
    assert part["logprobs"] == entries
    assert [entry for one in sent if one["type"].endswith("text.delta") for entry in one["logprobs"]] == entries
    (done,) = (one for one in sent if one["type"].endswith("text.done"))
    assert done["logprobs"] == entries
