"""What stages pass to each other: each kind of artifact has a type of its own, so that mypy refuses swapped handles.

The functions open a finished folder for the stages that take it in; heavy imports stand inside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from ayllu.data.conversations.dialogue import Dialogues
    from ayllu.data.corpus import Corpus
    from ayllu.data.tokens.pack import Tokens
    from ayllu.text.tokenizer import Tokenizer
    from ayllu.train.budget import BudgetPlan
    from ayllu.train.objectives.sft import Conversations

Weights = NewType("Weights", Path)
"""A folder in Hugging Face's layout: configuration, weights and tokenizer."""
ScoreFolder = NewType("ScoreFolder", Path)
"""What `ayllu.evals.score.Scores.save` wrote."""
Replies = NewType("Replies", Path)
"""Replies to held-out items of skills, with a verdict on each: `replies.json`."""
Comparison = NewType("Comparison", Path)
"""Before and after on the same items: `comparison.json`, and `rewards.png`."""
OwnScores = NewType("OwnScores", Path)
"""What is held out of one's own conversations, scored before and after: `own.json`."""
SafetyChange = NewType("SafetyChange", Path)
"""Held-out requests before and after safety tuning: `safety.json`, `replies.jsonl` and `safety.png`."""
Rehearsal = NewType("Rehearsal", Path)
"""Conversations that a model had with itself and a checker accepted: `conversations.jsonl`."""
Acceptance = NewType("Acceptance", Path)
"""How many of a large model's tokens a small one foresees: `guesses.json`."""
Release = NewType("Release", Path)
"""A signed folder that stands alone."""


class Dataset:
    """What post-training learns from: conversations, pairs of answers and plain text, as ids."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def conversations(self) -> list[Conversations]:
        """Groups of conversations that share a beginning."""
        from ayllu.train.objectives.sft import Conversations

        lines = (self.folder / "conversations.jsonl").read_text().splitlines()
        return [Conversations.from_json(json.loads(line)) for line in lines]

    def pairs(self) -> list[tuple[list[int], list[int], list[int]]]:
        """Prompt, better and worse answer of each pair."""
        return [tuple(json.loads(line)) for line in (self.folder / "pairs.jsonl").read_text().splitlines()]

    def plain(self) -> list[list[int]]:
        """Rows of plain text, all of one length."""
        rows: list[list[int]] = json.loads((self.folder / "plain.json").read_text())
        return rows


def write_conversations(path: Path, conversations: list[Conversations]) -> None:
    """As `Dataset.conversations` reads them."""
    path.write_text("".join(json.dumps(group.as_json()) + "\n" for group in conversations))


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


def open_release(folder: Path) -> Release:
    return Release(folder / "release")
