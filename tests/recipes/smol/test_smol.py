"""The recipe smol, whole, with a tiny random model in seconds: every stage, a kill in between, bad data before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.chats import store_copy
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import from_adopted, release_assistant, smol
from ayllu.recipes.stages import evaluate, posttrain
from ayllu.recipes.stages.artifacts import Comparison, Dataset, ScoreFolder
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.posttrain import open_posttrain_plan
from ayllu.release.proof.execute import re_execute
from ayllu.release.verify import verify_release
from ayllu.text.tokenizer import Tokenizer
from support.programs import PROGRAMS
from support.programs.smol import says_four, tiny

DRIVER = PROGRAMS / "smol.py"


def start(home: Path, *, stop_at: str = "", previous: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(home), stop_at, previous],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def digests(home: Path) -> dict[str, str]:
    """Of what each stage of training made."""
    manifests = [m for m in Store(home).manifests() if m["stage"] in ("lessons", "teach", "skills")]
    return {f"{m['stage']} {json.dumps(m['arguments'])} {m['key']}": m["digest"] for m in manifests}


@pytest.mark.slow
def test_the_whole_recipe_and_a_killed_one_end_alike(tmp_path: Path) -> None:
    finish(start(tmp_path / "whole"))
    process = start(tmp_path / "killed", stop_at="grpo")
    assert process.wait(timeout=500) == -signal.SIGKILL
    output = finish(start(tmp_path / "killed"))
    assert "going on from step" in output
    assert digests(tmp_path / "whole") == digests(tmp_path / "killed")

    (released,) = [m for m in Store(tmp_path / "whole").manifests() if m["stage"] == "release_post"]
    folder = Path(released["folder"]) / "release"
    assert (folder / "figures" / "rewards.png").is_file()
    told = json.loads((folder / "records.json").read_text())["training"]
    assert set(told["comparison"]["skills"]) == {
        "tool_calls exact",
        "tool_calls read",
        "strangers_calls exact",
        "reasoning correct",
        "reasoning format",
        "long_sums correct",
    }
    assert {kind: passed["steps"] for kind, passed in told["posttraining"].items()} == {
        "worked": 3,
        "grpo": 3,
        "sft": 2,
        "dpo": 2,
    }
    again = re_execute(verify_release(folder))
    assert again.succeeded, again.problems
    passed = {part.name for part in again.parts if part.word == "PASS"}
    assert "data pipeline" in passed and any(name.startswith("training") for name in passed)
    finish(start(tmp_path / "whole", previous=str(folder)))
    releases = [Path(m["folder"]) for m in Store(tmp_path / "whole").manifests() if m["stage"] == "release_post"]
    (later,) = [place / "release" for place in releases if place != folder.parent]
    assert json.loads((later / "records.json").read_text())["changes"]["before"] == "tiny 1.0.0"
    assert verify_release(later).problems == ()
    (taught,) = [m for m in Store(tmp_path / "whole").manifests() if m["arguments"].get("kind") == "grpo"]
    lines = (Path(taught["folder"]) / "rewards.jsonl").read_text().splitlines()
    assert [json.loads(line)["first"] for line in lines] == [0, 8, 16]


@stage(identity="tests.lost", makes=Comparison)
def lost(ctx: Context) -> None:
    """What seed 5 once made: sums worse than before."""
    worse = {"difference": {"value": -0.065, "low": -0.115, "high": -0.02}, "items": 200}
    kept = {"difference": {"value": 0.01, "low": -0.005, "high": 0.025}, "items": 200}
    skills = {"reasoning correct": {"adopted to final": worse}, "tool_calls exact": {"adopted to final": kept}}
    (ctx.folder / "comparison.json").write_text(json.dumps({"skills": skills, "pooled": kept}))


@stage(identity="tests.no_scores", makes=ScoreFolder)
def no_scores(ctx: Context) -> None:
    """An empty folder."""


@stage(identity="tests.plan", makes=open_posttrain_plan)
def plan(ctx: Context) -> None:
    steps = {"steps": {"grpo": 1}, "seconds_per_step": {"grpo": 0.0}, "precision": "float32"}
    (ctx.folder / "plan.json").write_text(json.dumps(steps))


def test_a_model_that_lost_a_skill_is_not_released(tmp_path: Path) -> None:
    """One sentence says which and by how much, and no release is left behind."""
    weights = [tiny()] * 5
    handle = release_assistant(*weights, no_scores(), lost(), plan(), name="tiny", version="1.0.0", policy="open")
    with pytest.raises(
        UserError, match=r"tiny is not released: .*sums right -6\.5 points \(-11\.5 to -2\.0\) of 200\)"
    ):
        resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))
    assert not [m for m in Store(tmp_path).manifests() if m["stage"] == "release_post"]


@pytest.mark.slow
def test_a_recipe_that_loses_its_sums_ends_at_its_gate(tmp_path: Path) -> None:
    """From the adopted model to the gate: this one replies 4 to every sum, and SFT at such a rate ends that."""
    handle = from_adopted(
        says_four(tiny()),
        budget=1,
        seed=0,
        chats=None,
        preferences=None,
        items=80,
        steps=(0, 3, 0),
        methods=("sft",),
        lr=(1e-4, 1.0, 5e-4),
        name="tiny",
    )
    store = Store(tmp_path)
    with pytest.raises(UserError, match=r"tiny is not released: .*[( ]sums right -"):
        resolve(handle, Place(store=store, cache=default_cache()))
    assert [m for m in store.manifests() if m["stage"] == "compare"]
    assert not [m for m in store.manifests() if m["stage"] == "release_post"]


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["before", "after"])
def test_grpo_alone_is_executed_again_from_the_state_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """GRPO is held to the model that it began with, not to the adopted one: its losses come out again all the same."""
    monkeypatch.setattr(evaluate, "MARGIN", 1.1)
    monkeypatch.setattr(evaluate, "SKILL_MARGIN", 1.1)
    monkeypatch.setattr(posttrain, "BETTER", 1.1 if kept == "after" else -1.0)
    handle = from_adopted(
        says_four(tiny()),
        budget=1,
        seed=0,
        chats=None,
        preferences=None,
        items=10,
        steps=(2, 0, 0),
        methods=("grpo",),
        name="tiny",
    )
    made = resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))
    folder = made[handle].folder / "release"
    again = re_execute(verify_release(folder))
    assert again.succeeded, again.problems
    assert [part.name for part in again.parts if part.word == "PASS" and part.name.startswith("training")]
    card = (folder / "README.md").read_text()
    (choice,) = [m["record"]["choice"] for m in Store(tmp_path).manifests() if m["stage"] == "better"]
    assert choice["kept"] == kept
    (line,) = [line for line in card.splitlines() if "state after grpo" in line]
    assert f"{choice['right_before']} were right before and {choice['right_after']} after" in line


def test_bad_conversations_stop_the_run_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hi"}, {"role": "robot", "content": "Hello"}]}\n')
    with pytest.raises(UserError, match="line 1: turn 2 has the unknown role 'robot'"):
        smol(chats=path)


def test_preferences_without_a_side_stop_the_run_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "Hi", "chosen": "Hello"}\n')
    with pytest.raises(UserError, match="line 1: the side 'rejected' is missing"):
        smol(preferences=path)


def test_your_own_conversations_and_preferences_are_learnt_from(tmp_path: Path) -> None:
    chats, pairs = tmp_path / "chats.jsonl", tmp_path / "pairs.jsonl"
    turns = [("user", "Who?"), ("assistant", "We."), ("user", "Why?"), ("assistant", "For all.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    chats.write_text(json.dumps({"messages": messages}) + "\n")
    pairs.write_text(json.dumps({"prompt": messages[:3], "chosen": "For all.", "rejected": "No."}) + "\n")
    cache = default_cache()
    own = {"chats": store_copy(chats, cache), "preferences": store_copy(pairs, cache)}
    chats.write_text("changed afterwards")
    handle = build_dataset(tiny(), seed=0, groups=40, **own)
    folder = resolve(handle, Place(store=Store(tmp_path / "home"), cache=cache))[handle].folder

    tokenizer = Tokenizer.load(next((tmp_path / "home").rglob("tokenizer.json")).parent)
    learnt = Dataset(folder).conversations()
    ends = [tokenizer.decode(c.continuations[0]) for c in learnt]
    assert len(learnt) == 60
    assert sum("For all." in end for end in ends) == 20, "a third"
    mine = [pair for pair in Dataset(folder).pairs() if "For all." in tokenizer.decode(pair[1])]
    assert len(mine) >= 30, "every other pair, but for those of one topic"
    prompt, chosen, rejected = mine[0]
    assert tokenizer.decode(prompt).count("Why?") == 1
    assert (tokenizer.decode(chosen)[:8], tokenizer.decode(rejected)[:3]) == ("For all.", "No.")


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="budget"):
        smol(budget=0)
    with pytest.raises(UserError, match="items"):
        smol(items=1)
    for steps in ((0, 0, 0), (3, -1, 2)):
        with pytest.raises(UserError, match="steps"):
            smol(steps=steps)
