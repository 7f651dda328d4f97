"""The recipe draft, whole, with a tiny model: it learns to guess, and what is said of its guesses is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.data.archive import default_cache
from ayllu.lab.error import UserError
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.draft import draft, from_teacher
from ayllu.release.proof.execute import re_execute
from ayllu.release.verify import verify_release
from support.programs.smol import tiny

PARTS = ("data pipeline", "generations", "log-likelihoods", "scores", "training distill")


def test_the_whole_recipe_makes_a_release_that_guesses_better(shared_home: Path) -> None:
    handle = from_teacher(tiny(), budget=1, seed=0, layers=1, items=8, steps=150, name="quick", source="moby-dick")
    made = resolve(handle, Place(store=Store(shared_home), cache=default_cache()))
    told = json.loads((made[handle].folder / "release" / "records.json").read_text())["training"]
    table = told["guesses"]
    assert table["taught"]["accepted"]["value"] > table["untaught"]["accepted"]["value"]
    assert table["answers"]["count"] == 8
    again = re_execute(verify_release(made[handle].folder / "release"))
    assert again.succeeded, again.problems
    assert {part.name: part.word for part in again.parts} == dict.fromkeys(PARTS, "PASS")
    assert "for speculative decoding" in (made[handle].folder / "release" / "README.md").read_text()


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="layers is 0"):
        draft(layers=0)
    with pytest.raises(UserError, match="budget"):
        draft(budget=-1)
