"""Prompts to ids, as lm-evaluation-harness's `hf` backend makes them.

Context and continuation are tokenized together and parted at the number of ids that the context alone has; space at a
context's end goes to the continuation; before an empty context stands the model's BOS, or its end of text where it has
none. Whether any id stands before a context is the tokenizer's own matter, unless it is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ayllu.evals.likelihood.log_probabilities import Question, Segment
from ayllu.evals.standard.task import Asked
from ayllu.text.tokenizer import Tokenizer

Beginning = Literal["tokenizer", "bos", "none"]
"""What stands before a prompt: what the tokenizer itself puts there, as lm-eval has it; or BOS, or nothing."""


class Encoder:
    """Texts to ids with what stands before each."""

    def __init__(self, tokenizer: Tokenizer, beginning: Beginning) -> None:
        self.tokenizer = tokenizer
        stated = tokenizer.bos_token_id
        end = tokenizer.special.get(tokenizer.named.get("eos_token", ""))
        self.prefix = stated if stated is not None else end if end is not None else tokenizer.bos
        """What predicts the first id of a text."""
        self.before = {"tokenizer": added_by(tokenizer), "bos": [tokenizer.bos], "none": []}[beginning]

    def told(self, beginning: Beginning) -> dict[str, Any]:
        """For the scores: what prompts begin with."""
        return {"kind": beginning, "ids": self.before}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, behind what stands before it."""
        return [[*self.before, *ids] for ids in self.tokenizer.encode_batch(texts)]

    def pairs(self, asked: Sequence[Asked]) -> list[list[tuple[list[int], list[int]]]]:
        """For each question the ids of each pair: what is given, and what is scored."""
        moved = [[_moved(*pair) for pair in question.pairs] for question in asked]
        contexts = sorted({given for question in moved for given, _ in question if given})
        known = dict(zip(contexts, self.encode(contexts), strict=True))
        whole = iter(self.encode([given + scored for question in moved for given, scored in question if given]))
        alone = iter(
            self.tokenizer.encode_batch([scored for question in moved for given, scored in question if not given])
        )
        return [
            [self._parted(known[given], next(whole)) if given else self._alone(next(alone)) for given, _ in question]
            for question in moved
        ]

    def contexts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of prompts that text is written behind; at least one each."""
        return [ids or [self.prefix] for ids in self.encode(texts)]

    def _parted(self, given: list[int], whole: list[int]) -> tuple[list[int], list[int]]:
        return given, whole[len(given) :]

    def _alone(self, ids: list[int]) -> tuple[list[int], list[int]]:
        return ([self.prefix], ids) if ids[:1] != [self.prefix] else (ids[:1], ids[1:])


class ChatEncoder(Encoder):
    """Prompts in the model's chat format: what is given is one message of the user, what is scored begins the answer.

    As lm-eval's `--apply_chat_template` does it, the space between the two goes. Texts with nothing before them stay.
    """

    def pairs(self, asked: Sequence[Asked]) -> list[list[tuple[list[int], list[int]]]]:
        """For each question the ids of each pair: the conversation up to the answer, and what is scored."""
        plain = super().pairs([question for question in asked if not _given(question)])
        left = iter(plain)
        return [
            [(self._turn(given), self.tokenizer.encode(scored.removeprefix(" "))) for given, scored in question.pairs]
            if _given(question)
            else next(left)
            for question in asked
        ]

    def contexts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of conversations that an answer is written behind."""
        return [self._turn(text) for text in texts]

    def _turn(self, text: str) -> list[int]:
        from ayllu.text.chat import Message, render
        from ayllu.text.template import FIXED_DAY

        return render([Message(role="user", content=text)], self.tokenizer, now=FIXED_DAY)


def _given(question: Asked) -> bool:
    """Whether something is given before everything that is scored."""
    return all(given.strip() for given, _ in question.pairs)


def added_by(tokenizer: Tokenizer) -> list[int]:
    """The ids that the tokenizer's own rules put before a text."""
    ids = tokenizer.engine().encode("a").ids
    plain = tokenizer.encode("a")
    at = next((i for i in range(len(ids)) if ids[i : i + len(plain)] == plain), 0)
    return list(ids[:at])


def question_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Question:
    """Pairs as a beginning that all share, with what differs behind it."""
    shared = pairs[0][0]
    for given, _ in pairs[1:]:
        alike = next((i for i, (a, b) in enumerate(zip(shared, given, strict=False)) if a != b), len(given))
        shared = shared[: min(alike, len(given))]
    rest = [[*given, *scored][len(shared) :] for given, scored in pairs]
    return Question(beginning=shared, continuations=rest, given=[len(given) - len(shared) for given, _ in pairs])


def segment_of(given: Sequence[int], scored: Sequence[int], context: int) -> Segment:
    """One pair, cut from the left to what the model can see."""
    return Segment([*given, *scored][-context - 1 :], min(len(scored), context))


def rolling(encoder: Encoder, text: str, context: int) -> list[Segment]:
    """A whole text in windows that score each id once.

    As `get_rolling_token_windows` with a context of 1 and `make_disjoint_window` in lm_eval/utils.py: the first window
    stands behind `prefix`, those that follow see one id of the one before, and the last is filled up from the left.
    """
    ids = [encoder.prefix, *encoder.encode([text])[0]]
    ends = [*range(context, len(ids) - 1, context), len(ids) - 1]
    return [
        Segment(ids[max(0, end - context) : end + 1], end - start) for start, end in zip([0, *ends], ends, strict=False)
    ]


def _moved(given: str, scored: str) -> tuple[str, str]:
    kept = given.rstrip()
    return kept, given[len(kept) :] + scored
