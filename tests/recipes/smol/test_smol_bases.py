"""What smol learns from, with bases whose templates differ: each is taught, or refused in one sentence at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.chats import store_copy
from ayllu.data.origin import Origin, write_origin
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.model.files import hf
from ayllu.recipes.stages.artifacts import Dataset, Weights
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.text.tokenizer import Tokenizer
from support.models import TINY, tiny_model
from support.programs.smol import tiny
from support.templates import (
    ENDS_EVERY_TEXT,
    MARKED,
    OPENS_THOUGHTS,
    PLAIN,
    THOUGHTS_OF_THE_LAST,
    TOOL_BLOCKS,
    write_tokenizer,
)


@stage(identity="tests.templated", makes=Weights)
def templated(ctx: Context, *, template: str | None) -> None:
    """A random model with a chat template."""
    write_tokenizer(ctx.folder, template)
    tokenizer = Tokenizer.load(ctx.folder)
    model = tiny_model(replace(TINY, vocabulary=tokenizer.size, context=8192))
    hf.save(ctx.folder, model, bos=tokenizer.bos, stops=sorted(tokenizer.stops))
    write_origin(ctx.folder, Origin(kind="test", source="drawn", title="Tiny", licence="MIT", files={}, types={}))


def made(handle: Handle[Dataset], home: Path) -> Dataset:
    return Dataset(resolve(handle, Place(store=Store(home), cache=default_cache()))[handle].folder)


@pytest.mark.parametrize(
    "template", [PLAIN, THOUGHTS_OF_THE_LAST, ENDS_EVERY_TEXT, OPENS_THOUGHTS, MARKED, TOOL_BLOCKS]
)
def test_bases_with_templates_of_every_kind_are_taught(template: str, tmp_path: Path) -> None:
    data = made(build_dataset(templated(template=template), seed=0, groups=4, chats=None, preferences=None), tmp_path)
    assert len(data.conversations()) >= 4
    assert all(right for _, right, _ in data.pairs())


def test_a_base_that_holds_no_conversations_is_refused(tmp_path: Path) -> None:
    handle = build_dataset(templated(template=None), seed=0, groups=4, chats=None, preferences=None)
    with pytest.raises(UserError, match=r"^the base cannot be taught conversations: .*no chat template"):
        made(handle, tmp_path)


def test_only_your_own_conversations_without_those_held_out(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    rows = [[("user", f"Question {n}?"), ("assistant", f"Answer {n}.")] for n in (*range(10), 3)]
    said = [[{"role": role, "content": content} for role, content in row] for row in rows]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in said))
    digest = store_copy(path, default_cache())
    handle = build_dataset(tiny(), seed=0, groups=60, chats=digest, preferences=None, only_own=True, held_out=0.2)
    learnt = made(handle, tmp_path / "home").conversations()
    tokenizer = Tokenizer.load(next((tmp_path / "home").rglob("tokenizer.json")).parent)
    ends = [tokenizer.decode(conversation.continuations[0]) for conversation in learnt]
    assert len(set(ends)) == 8, "two of ten are kept, wherever they stand"
    assert all("Answer" in end for end in ends)


def test_a_line_that_this_base_cannot_learn_is_told_by_the_users_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"messages": [{"role": r, "content": "word " * 600} for r in ("user", "assistant")]}))
    digest = store_copy(path, default_cache())
    handle = build_dataset(tiny(), seed=0, groups=60, chats=digest, preferences=None)
    with pytest.raises(UserError, match=r"mine\.jsonl cannot be used: line 1: it has .* 1,024 are allowed"):
        made(handle, tmp_path / "home")
