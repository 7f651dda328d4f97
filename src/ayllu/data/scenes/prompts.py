"""Questions about pictures as ids: the picture first, in the user's turn, then the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ayllu.model.sight.seeing import picture_ids
from ayllu.text.chat import Message, render, render_masked
from ayllu.text.template import FIXED_DAY
from ayllu.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class PicturePrompt:
    """A conversation of one turn in a model's own chat format, in the parts that no picture and question changes."""

    before: Sequence[int]
    """Ids up to the user's first word."""
    gap: Sequence[int]
    """Between picture and question."""
    after: Sequence[int]
    """From the end of the question to where the answer begins."""
    stop: int
    """What ends an answer."""

    def prefix(self, number: int = 0) -> list[int]:
        """All up to the question; `number` is the picture's place among those of a batch."""
        return [*self.before, *picture_ids(number), *self.gap]

    def asked(self, question: Sequence[int]) -> list[int]:
        """What stands behind the prefix up to the answer."""
        return [*question, *self.after]


def picture_prompt(tokenizer: Tokenizer) -> PicturePrompt:
    """The parts, found by what two conversations of one word each have in common."""
    one, other = (render([Message(role="user", content=word)], tokenizer, now=FIXED_DAY) for word in ("A", "9"))
    first = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    behind = next(at for at, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b)
    said = [Message(role="user", content="A"), Message(role="assistant", content="A")]
    ids, produced = render_masked(said, tokenizer)
    stop = [token for token, own in zip(ids, produced, strict=True) if own][-1]
    return PicturePrompt(before=one[:first], gap=tokenizer.encode("\n"), after=one[len(one) - behind :], stop=stop)
