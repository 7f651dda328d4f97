"""The recipe see, whole, with a tiny model: what it makes takes pictures, says what it can, and is measured by them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest

from ayllu.api import measuring
from ayllu.data.archive import default_cache
from ayllu.data.scenes.picture import draw_picture
from ayllu.evals.sight.seer import Seer
from ayllu.lab.error import UserError
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.model.files import hf
from ayllu.recipes.sight.scenes import draw_asked
from ayllu.recipes.sight.see import from_language, see
from ayllu.text.tokenizer import Tokenizer
from support.parts import need_module
from support.programs.smol import tiny

need_module("rapidocr", "descriptions need rapidocr")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("see")
    handle = from_language(tiny(), budget=1, seed=0, pictures=24, steps=24, items=3)
    found = resolve(handle, Place(store=Store(home), cache=default_cache()))
    return {node.stage.identity: artifact.folder for node, artifact in found.items()}


def test_it_says_who_was_right_how_often_on_the_same_held_out_questions(made: dict[str, Path]) -> None:
    told = json.loads((made["keep_sight"] / "sight.json").read_text())
    table = told["kinds"]
    who = {"model", "statements", "both", "description", "usual answer"}
    assert set(table["all"]["right"]) == who
    assert set(table["all"]["more"]) == who - {"model"}
    questions = [len(draw_asked(0, number, "heldout").questions) for number in range(3)]
    assert (table["all"]["questions"], table["all"]["scenes"]) == (sum(questions), 3)
    # The eyes read print; a tiny model of two dozen steps does not.
    assert table["word"]["right"]["statements"]["value"] == 1
    assert told["default"] in ("statements", "both", "model")
    right = table["all"]["right"]
    assert right[told["default"]]["value"] == max(right[name]["value"] for name in ("statements", "both", "model"))


def test_cells_and_answers_were_learnt(made: dict[str, Path]) -> None:
    for name in ("align_eyes", "learn_sight"):
        losses = [json.loads(line)["loss"] for line in (made[name] / "losses.jsonl").read_text().splitlines()]
        quarter = len(losses) // 4
        assert mean(losses[-quarter:]) < mean(losses[:quarter]) - 0.02, name


def test_the_model_answers_from_the_picture_and_the_profile_asks_it(made: dict[str, Path]) -> None:
    folder = made["keep_sight"]
    seer = Seer.load(folder, hf.load(folder), Tokenizer.load(folder))
    drawn = [draw_picture(draw_asked(0, number, "train").scene, default_cache()) for number in (0, 9)]
    pictures = [seer.view(pixels) for pixels in drawn]
    first, other = (seer.weigh(picture, "How many things are there?", ["1", "9"]) for picture in pictures)
    assert first != other
    with pytest.raises(UserError, match="too long"):
        seer.answer(pictures[0], ["why? " * 3000])
    profile = measuring.profile(folder, rows=["visual"], items=1, mode="rank")
    (row,) = [row for row in profile["profile"] if row["row"] == "visual"]
    assert row["measured"]
    assert len(row["generators"]) == 6


def test_eyes_that_are_missing_or_damaged_are_told_in_a_sentence(made: dict[str, Path]) -> None:
    text = made["tiny"]
    with pytest.raises(UserError, match="holds no projector that can be read: make it again"):
        Seer.load(text, hf.load(text), Tokenizer.load(text))


def test_a_model_of_text_is_not_asked_about_pictures(made: dict[str, Path], tmp_path: Path) -> None:
    profile = measuring.profile(made["tiny"], rows=["visual", "mathematics"], items=1, mode="rank")
    rows = {row["row"]: row for row in profile["profile"]}
    assert not rows["visual"]["measured"]
    assert "sees no pictures" in rows["visual"]["reason"]
    assert rows["mathematics"]["measured"]


@pytest.mark.parametrize("name", ["pictures", "steps", "items"])
def test_options_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is 0"):
        see(**{name: 0})  # type: ignore[arg-type]
