"""smol with one's own conversations: options, what is held out, and what stands on the card."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.chats import name_of_copy, store_copy, stored_copy
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, order, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import from_adopted, smol
from ayllu.recipes.stages import evaluate
from ayllu.recipes.stages.artifacts import Replies, Weights
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.own import score_own
from ayllu.recipes.stages.posttrain import PosttrainPlan, open_posttrain_plan, plan_posttraining, posttrain
from ayllu.recipes.taught import own_sources
from support.programs.smol import tiny


def write(path: Path, count: int = 20) -> Path:
    rows = [{"instruction": f"Say {n}", "output": f"Here is {n}: a llama."} for n in range(count)]
    path.write_text(json.dumps(rows))
    return path


@stage(identity="tests.skills", makes=Replies)
def known_skills(ctx: Context, model: Handle[Weights], plan: Handle[PosttrainPlan], *, items: int, kinds: Any) -> None:
    """Replies that are all right, whatever the model says: lists of tools are too long for a tiny one."""
    right = {verdict: True for _, verdict in evaluate.VERDICTS}
    rows = {name: [right] * items for name in kinds}
    (ctx.folder / "replies.json").write_text(json.dumps(rows))


@pytest.mark.slow
def test_sft_alone_on_ones_own_conversations_ends_in_a_release_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow: the whole recipe, as no other test runs it without GRPO and DPO."""
    monkeypatch.setattr(evaluate, "MARGIN", 1.1)
    monkeypatch.setattr(evaluate, "SKILL_MARGIN", 1.1)
    monkeypatch.setattr("ayllu.recipes.smol.skills", known_skills)
    digest = store_copy(write(tmp_path / "my talks.json"), default_cache())
    handle = from_adopted(
        tiny(),
        budget=1,
        seed=0,
        chats=digest,
        preferences=None,
        items=10,
        steps=(0, 6, 0),
        name="own",
        methods=("sft",),
        only_chats=True,
        held_out=0.25,
        licences={"chats": "CC-BY-4.0"},
    )
    folder = resolve(handle, Place(store=Store(tmp_path / "home"), cache=default_cache()))[handle].folder / "release"
    told = json.loads((folder / "records.json").read_text())["training"]
    assert told["own_conversations"]["conversations"] == 5
    assert list(told["posttraining"]) == ["sft"]
    papers = (folder / "LICENSES.md").read_text()
    assert "my talks.json" in papers
    assert "CC-BY-4.0" in papers
    for unused in ("reasoning-gym", "Small talk", "Requests for tools"):
        assert unused not in papers
    assert "own conversations" in (folder / "README.md").read_text()


def test_what_is_held_out_is_scored_before_and_after(tmp_path: Path) -> None:
    digest = store_copy(write(tmp_path / "talks.json"), default_cache())
    start = tiny()
    data = build_dataset(start, seed=0, groups=60, chats=digest, preferences=None, only_own=True, held_out=0.25)
    plan = plan_posttraining(start, data, budget=1, seed=0, steps=(8,), items=10, methods=("sft",))
    final = posttrain(start, data, plan, method="sft", seed=0, lr=2e-2, rank=4, adopted=start)
    handle = score_own(start, final, plan, chats=digest, held_out=0.25)
    folder = resolve(handle, Place(store=Store(tmp_path / "home"), cache=default_cache()))[handle].folder
    told = json.loads((folder / "own.json").read_text())
    assert told["conversations"] == 5
    assert told["change"] == pytest.approx(told["nats_per_token_after"] - told["nats_per_token_before"], abs=2e-4)
    assert told["change_high"] < 0
    (lines,) = (tmp_path / "home").glob("logs/teach-*/metrics.jsonl")
    assert [json.loads(line)["step"] for line in lines.read_text().splitlines()] == list(range(1, 9))


def test_a_share_of_less_than_one_conversation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = store_copy(write(tmp_path / "talks.json", 3), default_cache())
    start = tiny()
    data = build_dataset(start, seed=0, groups=60, chats=digest, preferences=None, only_own=True, held_out=0.25)
    plan = plan_posttraining(start, data, budget=1, seed=0, steps=(1,), items=10, methods=("sft",))
    handle = score_own(start, start, plan, chats=digest, held_out=0.25)
    folder = resolve(handle, Place(store=Store(tmp_path / "home"), cache=default_cache()))[handle].folder
    assert json.loads((folder / "own.json").read_text()) == {"conversations": 0}
    assert "no conversation of yours is scored" in capsys.readouterr().err


def test_epochs_are_passes_over_what_is_learnt(tmp_path: Path) -> None:
    digest = store_copy(write(tmp_path / "talks.json"), default_cache())
    start = tiny()
    data = build_dataset(start, seed=0, groups=60, chats=digest, preferences=None, only_own=True, held_out=0.1)
    handle = plan_posttraining(start, data, budget=0.01, seed=0, steps=None, items=10, methods=("sft",), epochs=2.0)
    made = resolve(handle, Place(store=Store(tmp_path / "home"), cache=default_cache()))[handle]
    plan = open_posttrain_plan(made.folder)
    assert plan.steps == {"sft": 9}, "twice 18 conversations, four at a time"


def test_sums_worked_out_come_before_grpo_and_are_in_its_plan(tmp_path: Path) -> None:
    start = tiny()
    data = build_dataset(start, seed=0, groups=60, chats=None, preferences=None)
    handle = plan_posttraining(start, data, budget=1, seed=0, steps=(5, 2), items=10, methods=("grpo", "dpo"))
    made = resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))[handle]
    assert list(open_posttrain_plan(made.folder).steps.items()) == [("worked", 5), ("grpo", 5), ("dpo", 2)]


def test_the_releases_licences_name_ones_own_files(tmp_path: Path) -> None:
    digest = store_copy(write(tmp_path / "my talks.json"), tmp_path)
    (source,) = own_sources((("chats", digest, "CC-BY-4.0"),), tmp_path)
    assert source["title"] == "Conversations of whoever trained the model (my talks.json)", "of the path only the name"
    assert (source["licence"], source["sha256"]) == ("CC-BY-4.0", digest)


@pytest.mark.parametrize("name", ["caf\udce9.json", "\x1b[31mred.json", "a\nb.json"])
def test_a_name_that_is_no_plain_text_is_shown_as_one_would_read_it(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    (source,) = own_sources((("chats", store_copy(path, tmp_path / "cache"), "MIT"),), tmp_path / "cache")
    assert source["title"].isprintable() and source["title"].isascii()
    with pytest.raises(UserError) as refused:
        smol(chats=path)
    assert str(refused.value).isprintable()


def arguments(identity: str, **options: object) -> dict[str, object]:
    """Those of a stage of the recipe with the options."""
    found = [node for node in order(smol(**options)) if node.stage.identity == identity]  # type: ignore[arg-type]
    return dict(found[-1].arguments)


def test_methods_rates_and_epochs_are_those_that_were_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "chats.json")
    own = {"chats": path, "licence": "MIT", "only_chats": True}
    assert arguments("plan_post", steps=(0, 40, 0))["methods"] == ("sft",)
    assert arguments("plan_post", steps=(0, 40, 0))["steps"] == (40,)
    assert arguments("plan_post", methods=("dpo", "sft"))["methods"] == ("sft", "dpo")
    assert arguments("plan_post", epochs=3, methods=("sft",), **own)["epochs"] == 3
    assert arguments("teach", methods=("sft",), lr=(1e-3, 1e-4, 1e-3))["lr"] == 1e-4
    assert arguments("lessons", held_out=0.2, **own)["held_out"] == 0.2
    assert arguments("lessons")["held_out"] == 0, "there is nothing to hold out"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": (0, 0, 0)}, "not all of them 0"),
        ({"steps": (0, -1, 3)}, "from 0 on"),
        ({"methods": ("sft", "ppo")}, "no method 'ppo'"),
        ({"methods": ("sft",), "steps": (3, 3, 3)}, "give one of the two"),
        ({"only_chats": True}, "give --chats"),
        ({"epochs": 2.0}, "--only-chats"),
        ({"epochs": 2.0, "only_chats": True, "chats": True, "steps": (0, 9, 0)}, "not --steps"),
        ({"held_out": 1.0}, "held_out"),
        ({"held_out": 0.2}, "--held-out is a share of your own"),
        ({"seed": 1 << 70}, "the seed has 22 digits"),
        ({"lr": (1e-3, 0.0, 1e-3)}, "sft is 0"),
        ({"chats": True, "methods": ("grpo",)}, "--chats is what SFT learns from"),
        ({"chats": True}, r"chats\.json could not be released: .*--licence"),
        ({"licence": "MIT"}, "--licence is of your own conversations"),
        ({"chats": True, "licence": "CC-BY-NC-4.0"}, "--licence"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_anything_runs(
    options: dict[str, object], said: str, tmp_path: Path
) -> None:
    if "chats" in options:
        options = {**options, "chats": write(tmp_path / "chats.json")}
    with pytest.raises(UserError, match=said):
        smol(**options)  # type: ignore[arg-type]
    if said.endswith("--licence"):
        smol(**{**options, "licence": None, "private": True})  # type: ignore[arg-type]


def test_packed_conversations_are_unpacked_and_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write(tmp_path / "chats.json").read_bytes()
    (tmp_path / "own.json.gz").write_bytes(gzip.compress(content))
    monkeypatch.setenv("HOME", str(tmp_path))
    own = arguments("lessons", chats=Path("~/own.json.gz"), licence="MIT", only_chats=True, methods=("sft",))
    assert stored_copy(str(own["chats"]), default_cache()).read_bytes() == content
    assert name_of_copy(str(own["chats"]), default_cache()) == str(tmp_path / "own.json.gz")


def test_conversations_from_a_pipe_are_read_once_and_kept_whole(tmp_path: Path) -> None:
    content = write(tmp_path / "chats.json").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    own = arguments("lessons", chats=pipe, licence="MIT", only_chats=True, methods=("sft",))
    assert own["chats"] == hashlib.sha256(content).hexdigest()
    assert stored_copy(str(own["chats"]), default_cache()).read_bytes() == content
    assert name_of_copy(str(own["chats"]), default_cache()) == str(pipe)
    with pytest.raises(UserError, match="cannot be read"):
        smol(chats=tmp_path, licence="MIT")
