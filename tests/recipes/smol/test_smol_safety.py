"""The recipe smol with --safety, by a tiny random model: what is learnt, what is shown, and the gate behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import from_adopted, release_assistant, smol
from ayllu.recipes.stages import evaluate
from ayllu.recipes.stages.artifacts import Comparison, Dataset, SafetyChange, ScoreFolder
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.posttrain import open_posttrain_plan
from ayllu.release.verify import verify_release
from ayllu.safety.tuning import change
from ayllu.safety.tuning.change import compare_replies
from ayllu.text.tokenizer import Tokenizer
from support.programs.smol import says_four, tiny

ERRORS = {"found": 0.6, "found_interval": [0.5, 0.7], "false": 0.1, "false_interval": [0.05, 0.2]}


def test_a_fifth_of_what_is_learnt_is_of_safety_and_the_rest_is_as_without(tmp_path: Path) -> None:
    place = Place(store=Store(tmp_path), cache=default_cache())
    plain, safe = (
        build_dataset(tiny(), seed=0, groups=40, chats=None, preferences=None, safety=safety)
        for safety in (False, True)
    )
    without, beside = (Dataset(resolve(handle, place)[handle].folder) for handle in (plain, safe))
    learnt = beside.conversations()
    assert len(without.conversations()) == 40 and len(learnt) == 50
    assert [one.as_json() for one in learnt[:40]] == [one.as_json() for one in without.conversations()]
    assert beside.pairs() == without.pairs()
    tokenizer = Tokenizer.load(next(tmp_path.rglob("tokenizer.json")).parent)
    refused = [tokenizer.decode(ids) for group in learnt[40:] for ids in group.continuations]
    assert len(refused) == 40
    produced = [any(predict) for group in learnt[40:] for predict in group.predict]
    assert all(produced)


@pytest.mark.parametrize("options", [{"methods": ("dpo",)}, {"steps": (2, 0, 0)}, {"only_chats": True, "chats": True}])
def test_safety_without_anything_to_learn_it_beside_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    if "chats" in options:
        options = options | {"chats": tmp_path / "chats.jsonl"}
    with pytest.raises(UserError, match="--safety"):
        smol(safety=True, **options)


@stage(identity="tests.kept", makes=Comparison)
def kept(ctx: Context) -> None:
    """Nothing was lost."""
    (ctx.folder / "comparison.json").write_text(
        json.dumps({"skills": {}, "pooled": {"difference": {"value": 0.0, "low": -0.01, "high": 0.01}, "items": 200}})
    )


@stage(identity="tests.refuses", makes=SafetyChange)
def refuses(ctx: Context) -> None:
    """A model that refuses twelve of a hundred harmless requests more."""
    sides = []
    for refused in (0, 12):
        classes = {"harmful": ["refusal"] * 100, "harmless": ["refusal"] * refused + ["safe"] * (100 - refused)}
        sides.append(
            [
                {"kind": kind, "request": f"{kind} {i}", "class": name}
                for kind, names in classes.items()
                for i, name in enumerate(names)
            ]
        )
    (ctx.folder / "safety.json").write_text(json.dumps(compare_replies(*sides, errors=ERRORS)))


@stage(identity="tests.safety_no_scores", makes=ScoreFolder)
def no_scores(ctx: Context) -> None:
    """An empty folder."""


@stage(identity="tests.safety_plan", makes=open_posttrain_plan)
def plan(ctx: Context) -> None:
    steps = {"steps": {"sft": 1}, "seconds_per_step": {"sft": 0.0}, "precision": "float32"}
    (ctx.folder / "plan.json").write_text(json.dumps(steps))


def test_a_model_that_refuses_more_that_is_harmless_is_not_released(tmp_path: Path) -> None:
    handle = release_assistant(
        *[tiny()] * 5, no_scores(), kept(), plan(), name="tiny", version="1.0.0", policy="open", tuned=refuses()
    )
    with pytest.raises(UserError, match=r"tiny is not released: .*harmless requests refused \+12\.0 points .*of 100\)"):
        resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))
    assert not [m for m in Store(tmp_path).manifests() if m["stage"] == "release_post"]


def test_a_model_beside_itself_has_changed_nothing(tmp_path: Path) -> None:
    handle = evaluate.measure_safety(tiny(), tiny(), plan(), items=3)
    folder = resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))[handle].folder
    found = json.loads((folder / "safety.json").read_text())
    assert found["harmful"]["items"] == found["over_refusal"]["items"] == 3
    assert found["harmful"]["difference"]["value"] == found["incoherent"]["difference"]["value"] == 0
    lines = [json.loads(line) for line in (folder / "replies.jsonl").read_text().splitlines()]
    assert [line["side"] for line in lines] == ["before"] * 6 + ["after"] * 6
    assert [line["reply"] for line in lines[:6]] == [line["reply"] for line in lines[6:]]
    assert (folder / "safety.png").is_file()


@pytest.mark.slow
def test_a_tuned_model_shows_before_and_after_with_the_judges_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the adopted model to the card; so few items rule nothing out, so that the gates stand open here."""
    for module, name in ((evaluate, "MARGIN"), (evaluate, "SKILL_MARGIN"), (change, "MARGIN")):
        monkeypatch.setattr(module, name, 1.1)
    handle = from_adopted(
        says_four(tiny()),
        budget=1,
        seed=0,
        chats=None,
        preferences=None,
        items=10,
        steps=(0, 2, 0),
        methods=("sft",),
        safety=True,
        name="tiny",
    )
    store = Store(tmp_path)
    folder = resolve(handle, Place(store=store, cache=default_cache()))[handle].folder / "release"
    assert verify_release(folder).problems == ()
    (measured,) = [m for m in store.manifests() if m["stage"] == "safety_change"]
    found = json.loads((Path(measured["folder"]) / "safety.json").read_text())
    assert json.loads((folder / "records.json").read_text())["training"]["safety"] == found
    replies = (Path(measured["folder"]) / "replies.jsonl").read_text().splitlines()
    assert len(replies) == 2 * 2 * 10, "both sides, both kinds"
    card = (folder / "README.md").read_text()
    section = card.partition("## Safety tuning")[2].partition("## ")[0]
    assert "harmful requests complied with" in section and "harmless requests refused" in section
    assert "56.8 %" in section, "what the judge that comes with Ayllu finds"
    assert (folder / "figures" / "safety.png").is_file()
    hazards = json.loads((folder / "scores.json").read_text())["about"]["hazards"]
    assert hazards["over_refusal"]["items"] == 10, "a policy's threshold finds it"
    named = {source["name"] for source in json.loads((folder / "sources.json").read_text())["dialogues"]}
    assert {"safety-refusals", "safety-labelled", "safety-pairs", "safety-everyday"} <= named
