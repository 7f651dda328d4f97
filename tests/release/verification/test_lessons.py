"""What generators gave is made again from its seed, and what is none of theirs is found."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import pytest

from ayllu.data.conversations.lessons import lessons
from ayllu.lab.error import UserError
from ayllu.release.proof.lessons import FILE, SAMPLED, Lessons, lessons_problems, write_lessons
from ayllu.text.tokenizer import Tokenizer
from ayllu.train.objectives.sft import with_shared_prefix

GROUPS = 5


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(["given the following functions, respond with a JSON: name, parameters, type"] * 3, 600)


@pytest.fixture
def learnt(tokenizer: Tokenizer, tmp_path: Path) -> Lessons:
    """As the recipe's data set keeps them, one's own conversation behind those of the generators."""
    groups = [with_shared_prefix(group) for group in islice(lessons(tokenizer, random.Random(7)), GROUPS + 1)]
    path = tmp_path / "conversations.jsonl"
    path.write_text("".join(json.dumps(group.as_json()) + "\n" for group in groups))
    return Lessons(conversations=path, seed=7, groups=GROUPS)


def test_the_conversations_come_out_again(learnt: Lessons, tokenizer: Tokenizer, tmp_path: Path) -> None:
    told = write_lessons(tmp_path, learnt, tokenizer)
    assert told == {"seed": 7, "groups": GROUPS}
    assert list(lessons_problems(tmp_path, told, tokenizer)) == []
    assert learnt.conversations.read_text().split("\n")[0] not in (tmp_path / FILE).read_text(), "digests only"


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda rows, told: rows[3].update(sha256="0" * 64), "another group 3"),
        (lambda rows, told: told.update(seed=8), "another group 0"),
        (lambda rows, told: rows.pop(), f"holds {GROUPS - 1} groups"),
        (lambda rows, told: (rows.clear(), told.update(groups=0)), "holds 0 groups"),
        (
            lambda rows, told: (rows.extend(rows[:1] * SAMPLED), told.update(groups=len(rows))),
            "groups of conversations",
        ),
    ],
)
def test_what_does_not_come_out_is_named(learnt, tokenizer, tmp_path, harm, found) -> None:
    told = write_lessons(tmp_path, learnt, tokenizer)
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    harm(rows, told)
    (tmp_path / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    ((file, reason),) = lessons_problems(tmp_path, told, tokenizer)
    assert file == FILE and found in reason


def test_a_proof_does_not_claim_what_was_not_learnt(learnt: Lessons, tokenizer: Tokenizer, tmp_path: Path) -> None:
    lines = learnt.conversations.read_text().splitlines()
    learnt.conversations.write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="give other conversations"):
        write_lessons(tmp_path, learnt, tokenizer)
    assert not (tmp_path / FILE).exists()
    with pytest.raises(UserError, match="no generator"):
        write_lessons(tmp_path, Lessons(conversations=learnt.conversations, seed=7, groups=0), tokenizer)
