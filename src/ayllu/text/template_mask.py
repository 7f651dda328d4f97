"""The ids of a conversation that a chat template wrote, and which of them the assistant produces.

Where a turn lies is found by what the template writes: it adds a turn to the prompt before it; where it writes that
turn differently once others follow (Qwen3 leaves out thoughts, Phi-3 ends every text with one more token), the place is
found by rendering the conversation once more with other words in it; and `{% generation %}` marks, as transformers
reads them, come before both.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ayllu.text.template import render_text
from ayllu.text.template_shape import fitted

if TYPE_CHECKING:
    from ayllu.text.tokenizer import Tokenizer

Masked = tuple[list[int], list[bool]]
"""Ids, and for each whether the assistant produces it."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A conversation and the template that writes it.

    Special tokens come from the template only: what a message says is text, also where it spells one.
    """

    template: str
    messages: Sequence[Mapping[str, Any]]
    tokenizer: Tokenizer
    tools: Sequence[Mapping[str, Any]] = ()
    now: datetime | None = None

    @cached_property
    def free(self) -> tuple[str, ...]:
        """Characters that no message has: between the letters of spelled tokens, around marks, in place of words."""
        return _unused([*self.messages, *self.tools], 4)

    @cached_property
    def guarded(self) -> list[Any]:
        return [_guard(message, self._special, self.free[0]) for message in self.messages]

    @cached_property
    def _special(self) -> tuple[str, ...]:
        return tuple(self.tokenizer.special)

    def text(self, messages: Sequence[Any], *, reply: bool, marks: bool = False) -> str:
        """What the template writes; ValueError when it refuses."""
        return render_text(
            self.template,
            fitted(self.template, messages, self.tokenizer.named),
            special=self.tokenizer.named,
            tools=[_guard(tool, self._special, self.free[0]) for tool in self.tools],
            reply=reply,
            now=self.now,
            marks=(self.free[1], self.free[2]) if marks else ("", ""),
        )

    @cached_property
    def whole(self) -> str:
        return self._marked[0]

    @cached_property
    def _marked(self) -> tuple[str, list[tuple[int, int]]]:
        """The whole conversation without the reply's header, and where its marks stood."""
        text = self.text(self.guarded, reply=False, marks=True)
        _, opening, closing, _ = self.free
        plain: list[str] = []
        at, open_at, found = 0, 0, []
        for piece in _pieces(text, opening + closing):
            if piece == opening:
                open_at = at
            elif piece == closing:
                found.append((open_at, at))
            else:
                plain.append(piece)
                at += len(piece)
        return "".join(plain), found

    def encode(self, text: str, spans: Sequence[tuple[int, int]], *, exact: bool = False) -> Masked:
        """Ids of a rendered text and a mask of `spans`, each up to its first stop; `exact` leaves the stops alone and
        takes whole tokens, as transformers does with marks."""
        ids, starts = self.tokenizer.encode_rendered(text, self.free[0])
        produced = [False] * len(ids)
        for first, end in spans:
            if exact:
                places = range(max(bisect_right(starts, first) - 1, 0), bisect_right(starts, end - 1))
            else:
                places = range(*(_at_least(starts, place) for place in (first, end)))
                stop = next((at for at in places if ids[at] in self.tokenizer.stops), None)
                # What a template writes behind the stop, such as a line break, is never generated.
                places = range(places.start, stop + 1) if stop is not None else places
            for at in places:
                produced[at] = True
        return ids, produced

    def masked(self, learnt: Sequence[int]) -> Masked:
        """The whole conversation, with the turns `learnt` as what the assistant produces.

        Raises ValueError where it cannot be said where a turn lies.
        """
        marks = self._marks(learnt)
        if marks is not None:
            return self.encode(self.whole, marks, exact=True)
        return self.encode(self.whole, [self.span(i, self.guarded, self.whole) for i in learnt])

    def examples(self, learnt: Sequence[int]) -> list[Masked]:
        """What to learn from the conversation, so that each turn stands as the model will have to produce it.

        One text where the template writes every turn as it did when it was the last; otherwise one for each turn, with
        what comes before it. Raises ValueError where the template leaves out words or calls of a turn.
        """
        marks = self._marks(learnt)
        if marks is not None:
            return [self.encode(self.whole, marks, exact=True)]
        alone = [self._last(i) for i in learnt]
        if all(self._continues(i, text, span) for i, (text, span) in zip(learnt, alone, strict=True)):
            return [self.masked(learnt)]
        return [self.encode(text, [span]) for text, span in alone]

    def span(self, i: int, messages: Sequence[Any], whole: str) -> tuple[int, int]:
        """Where `whole`, which is `messages` rendered, holds turn `i`: its words or calls, and what ends them."""
        before = self.text(messages[:i], reply=True)
        after = whole if i + 1 == len(messages) else self.text(messages[: i + 1], reply=False)
        if after.startswith(before) and whole.startswith(after):
            return len(before), len(after)
        if not whole.startswith(before):
            past = self.text(messages[:i], reply=False)
            if self.messages[i].get("tool_calls") or not whole.startswith(past):
                raise ValueError(f"the chat template writes what precedes message {i + 1} differently with it")
        first, last = self._place(i, messages, whole)
        _, same = self._place(i, messages[: i + 1], after)
        ending = whole[last : last + _shared(whole[last:], after[same:])]
        begun = len(before) if whole.startswith(before) else first
        return begun, last + self._end(ending)

    def _place(self, i: int, messages: Sequence[Any], whole: str) -> tuple[int, int]:
        """Where the words or arguments of turn `i` lie, by what changes when they do."""
        other = self.text([*messages[:i], self._other(messages[i]), *messages[i + 1 :]], reply=False)
        first = _shared(whole, other)
        shorter = min(len(whole), len(other)) - first
        behind = _shared(whole[::-1][:shorter], other[::-1][:shorter])
        if self.free[3] not in other or first > len(whole) - behind:
            raise ValueError(f"the chat template does not write message {i + 1} in one piece")
        return first, len(whole) - behind

    def _other(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """`message` with other words, or with other calls."""
        if not message.get("tool_calls"):
            return {**message, "content": self.free[3]}
        function = {"name": self.free[3], "arguments": {self.free[3]: self.free[3]}}
        return {**message, "tool_calls": [{"type": "function", "function": function}]}

    def _end(self, text: str) -> int:
        """How much of `text`, which follows the words of a turn, is its ending: up to a stop, or to the last special
        token, or all of it."""
        stops = {token for token, i in self.tokenizer.special.items() if i in self.tokenizer.stops}
        found = list(self.tokenizer.special_in(text))
        stop = next((end for start, end in found if text[start:end] in stops), None)
        return stop if stop is not None else found[-1][1] if found else len(text)

    def _last(self, i: int) -> tuple[str, tuple[int, int]]:
        """The conversation up to turn `i`, and where that turn lies as the model produces it."""
        messages = self.guarded[: i + 1]
        before, after = self.text(messages[:i], reply=True), self.text(messages, reply=False)
        said = messages[i].get("content") or ""
        same = _shared(before, after)
        opened = before[same:]
        if same < len(before) and opened.strip() and said.lstrip().startswith(opened.strip()):
            # The prompt opens the thoughts that the turn begins with, and the template leaves them out of the past.
            _, last = self._place(i, messages, after)
            words = said.lstrip()[len(opened.strip()) :].lstrip()
            text = before + words + after[last : last + self._end(after[last:])]
            return text, (len(before), len(text))
        span = self.span(i, messages, after)
        self._nothing_lost(i, after[span[0] : span[1]])
        return after, span

    def _continues(self, i: int, text: str, span: tuple[int, int]) -> bool:
        """Whether the whole conversation holds turn `i` and all before it as the text that ends with it does."""
        upto = span[0] + self._end(text[span[0] : span[1]])
        return self.whole.startswith(text[:upto])

    def _nothing_lost(self, i: int, written: str) -> None:
        """Raises ValueError where a turn's words or the names of its calls are not in what was written of it."""
        message = self.guarded[i]
        names = [call["function"]["name"] for call in message.get("tool_calls") or ()]
        if _squeezed(message.get("content") or "") not in _squeezed(written):
            raise ValueError(f"the chat template leaves out words of message {i + 1}")
        if any(name not in written for name in names):
            raise ValueError(f"the chat template leaves out the calls of message {i + 1}")

    def _marks(self, learnt: Sequence[int]) -> list[tuple[int, int]] | None:
        """The marked spans of the turns `learnt`; None where the template marks nothing of one of them."""
        spans = self._marked[1]
        said = [i for i, message in enumerate(self.messages) if message["role"] == "assistant"]
        # Some templates put their marks around what anybody says.
        marked: Sequence[int] = said if len(spans) == len(said) else range(len(self.messages))
        if len(spans) == len(marked):
            chosen = [span for i, span in zip(marked, spans, strict=True) if i in learnt]
            return chosen if chosen and all(first < end for first, end in chosen) else None
        filled = [span for span in spans if span[0] < span[1]]
        if filled and list(learnt) != said:
            raise ValueError("the chat template's marks of what is generated do not say which turn is which")
        return filled or None


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    ends = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(ends, min(len(one), len(other)))


def _at_least(starts: Sequence[int], place: int) -> int:
    """The first token that begins at `place` or behind it."""
    return bisect_right(starts, place - 1)


def _pieces(text: str, marks: str) -> list[str]:
    """`text` cut around each of the characters `marks`."""
    found = [""]
    for character in text:
        if character in marks:
            found += [character, ""]
        else:
            found[-1] += character
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _unused(messages: Sequence[Mapping[str, Any]], count: int) -> tuple[str, ...]:
    """Characters that no message has: Unicode keeps these for such a use. ValueError when too many stand there."""
    said = set(json.dumps(list(messages), ensure_ascii=False, default=str))
    free = [chr(code) for code in (*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900)) if chr(code) not in said][:count]
    if len(free) < count:
        raise ValueError("the messages hold every private character of Unicode")
    return tuple(free)


def _guard(value: Any, special: tuple[str, ...], mark: str) -> Any:
    """`value` with `mark` inside each special token that its texts spell."""
    if isinstance(value, str):
        for token in special:
            if token in value:
                value = value.replace(token, token[0] + mark + token[1:])
        return value
    if isinstance(value, Mapping):
        return {key: _guard(item, special, mark) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_guard(item, special, mark) for item in value]
    return value
