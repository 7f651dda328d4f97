"""Comparing profiles: paired row by row, only within a mode, and only on the same items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.evals.profile.compare import compare_profiles, profile_comparison_table
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.profile.kept import ITEMS, KeptProfile, find_profile, read_profile
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.programs import Program
from ayllu.lab.error import UserError


class Able(Program):
    def __init__(self, able: int) -> None:
        self.name, self.able = f"able-{able}", able

    def reply(self, item: ProfileItem) -> str:
        return item.answer if item.level <= self.able else ""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    for able in (5, 12):
        run_profile(Able(able), cache=folder, each=1, rows=["mathematics", "habit", "learning"], modes=["gen"])
    return folder


def kept(cache: Path, name: str) -> KeptProfile:
    return read_profile(name, cache)


def test_a_better_subject_is_better_by_as_many_levels_and_items(cache: Path) -> None:
    found = compare_profiles(kept(cache, "able-5"), kept(cache, "able-12"))
    rows = {row["row"]: row for row in found["gen"]}
    assert list(rows) == ["mathematics", "learning", "habit"]
    levels = rows["mathematics"]["d50"]
    assert 5 < levels["value"] < 9
    assert levels["low"] > 3
    solved = rows["mathematics"]["solved"]
    assert (solved["only_first"], solved["only_second"]) == (0, 12)  # levels 6, 8, 10 and 12 of three generators
    assert solved["low"] > 0
    assert solved["p"] == pytest.approx(2 / 2**12)
    assert solved["p_holm"] == pytest.approx(3 * solved["p"])
    # Six items ask each of eight rules: as many independent ones as rules, of which three are newly solved.
    assert rows["learning"]["solved"]["p"] == pytest.approx(0.25)
    assert "Mathematics" in profile_comparison_table(found)


def test_a_subject_does_not_differ_from_itself(cache: Path) -> None:
    one = kept(cache, "able-12")
    for row in compare_profiles(one, one)["gen"]:
        assert row["solved"]["value"] == row["d50"]["value"] == row["d50"]["low"] == row["d50"]["high"] == 0
        assert row["solved"]["p_holm"] == 1


def test_other_items_and_other_modes_are_refused(cache: Path, tmp_path: Path) -> None:
    run_profile(Able(7), cache=tmp_path, each=1, rows=["mathematics", "habit", "learning"], modes=["gen"], seed="x")
    with pytest.raises(UserError, match="0 of them the same"):
        compare_profiles(kept(cache, "able-5"), kept(tmp_path, "able-7"))
    run_profile(Able(8), cache=tmp_path, each=1, rows=["mathematics"], modes=["gen"])
    with pytest.raises(UserError, match="42 of them the same"):
        compare_profiles(kept(cache, "able-5"), kept(tmp_path, "able-8"))
    run_profile(Able(9), cache=tmp_path, each=1, rows=["mathematics"], modes=["rank"])
    with pytest.raises(UserError, match="measure both in one mode"):
        compare_profiles(kept(cache, "able-5"), kept(tmp_path, "able-9"))


def test_what_is_no_profile_is_one_sentence(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no profile of 'nobody'"):
        read_profile("nobody", cache)
    run_profile(Able(3), cache=tmp_path, each=1, rows=["habit"], modes=["gen"], folder=tmp_path / "out")
    assert find_profile(str(tmp_path / "out"), cache) == tmp_path / "out"
    (tmp_path / "out" / ITEMS).write_text('{"id": 1}\n')
    with pytest.raises(UserError, match="no whole profile"):
        read_profile(str(tmp_path / "out"), cache)


def test_answers_that_had_other_room_are_not_compared(cache: Path) -> None:
    one, other = (
        replace(found, profile={**found.profile, "about": {**found.profile["about"], "max_tokens": room}})
        for found, room in ((kept(cache, "able-5"), "24"), (kept(cache, "able-12"), 2048))
    )
    with pytest.raises(UserError, match="of able-5 had room for 24 tokens, those of able-12 for 2048"):
        compare_profiles(one, other)
    assert compare_profiles(one, replace(other, profile=one.profile))["gen"]
