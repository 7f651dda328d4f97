"""The visual row: asked of those who see alone, from what anybody sees to what nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ayllu.data.scenes.questions import KINDS
from ayllu.data.scenes.scene import PHOTOS, read_scene
from ayllu.evals.profile.check import is_right
from ayllu.evals.profile.human.take import take_row
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.profile.rows import make_items
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.programs import Program, find_program
from ayllu.lab.error import UserError

ITEMS = make_items(["visual"], each=2, pictures=True)


class Sees(Program):
    """Knows the truth of scenes with no more than `most` things."""

    sees = True

    def __init__(self, most: int) -> None:
        self.name, self.most = f"sees-{most}", most

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[tuple[int, str | None, str]]:
        for number, item in enumerate(items):
            easy = item.scene and len(read_scene(item.scene).things) <= self.most
            yield number, item.answer if easy else "", ""


def test_who_sees_more_things_at_once_solves_harder_scenes(tmp_path: Path) -> None:
    found = [run_profile(Sees(most), cache=tmp_path, rows=["visual"], each=1, modes=["gen"]) for most in (4, 15)]
    rows = [next(row for row in profile["profile"] if row["row"] == "visual") for profile in found]
    assert all(row["measured"] for row in rows)
    assert 2 < rows[0]["d50"] < 6 < 9 < rows[1]["d50"] < 16


def test_who_does_not_see_is_asked_what_it_was_asked_before(tmp_path: Path) -> None:
    profile = run_profile(find_program("program:random"), cache=tmp_path, rows=["visual", "habit"], each=1)
    (row,) = [row for row in profile["profile"] if row["row"] == "visual"]
    assert (row["measured"], row["d50"]) == (False, None)
    assert "ayllu run see" in row["reason"]
    assert make_items(each=1) == tuple(item for item in make_items(each=1, pictures=True) if not item.scene)
    assert all("scene" not in item.as_json() for item in make_items(["habit"], each=1))


def test_every_item_has_its_scene_and_one_right_answer() -> None:
    assert len({item.asked for item in ITEMS}) == len(ITEMS) == 2 * 14 * 6
    for item in ITEMS:
        scene = read_scene(item.scene)
        assert item.generator in KINDS
        assert scene.photo == "" or scene.photo in PHOTOS["heldout"]
        assert is_right(item, item.answer)
        assert item.choices[item.gold] == item.answer
        assert not any(is_right(item, choice) for choice in item.choices if choice != item.answer), item
        assert (item.generator == "word") == (scene.writing is not None)
    assert ITEMS[0].digest != make_items(["visual"], each=1, seed="another", pictures=True)[0].digest


def test_a_person_cannot_take_what_the_page_does_not_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no items that a person can take"):
        take_row("visual", "ana", folder=tmp_path, ready=lambda address: None)
