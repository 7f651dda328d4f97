"""The picture of profiles: a PNG and a page that needs nothing else."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.evals.profile.kept import KeptProfile, read_profile
from ayllu.evals.profile.picture import draw_profiles
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.programs import find_program
from ayllu.lab.error import UserError


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> list[KeptProfile]:
    cache = tmp_path_factory.mktemp("cache")
    for name in ("calculator", "random"):
        run_profile(find_program(name), cache=cache, each=1, rows=["mathematics", "habit"], modes=["gen"])
    return [read_profile(name, cache) for name in ("calculator", "random")]


def test_a_png_is_drawn(profiles: list[KeptProfile], tmp_path: Path) -> None:
    data = draw_profiles(profiles, tmp_path / "profile.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 1000
    assert height > 1000


def test_a_page_holds_drawing_and_numbers_and_loads_nothing(profiles: list[KeptProfile], tmp_path: Path) -> None:
    about = {**profiles[0].profile["about"], "subject": "<script>alert(1)</script>"}
    odd = replace(profiles[0], profile={**profiles[0].profile, "about": about})
    page = draw_profiles([odd, profiles[1]], tmp_path / "profile.html").read_text()
    assert "<svg" in page
    assert "above 30" in page  # the calculator in mathematics
    assert page.count("not measured") >= 2 * 12
    assert "<script" not in page
    assert "src=" not in page
    assert "https://" not in page.replace("https://www.w3.org", "").replace("https://matplotlib.org", "")
    again = draw_profiles([odd, profiles[1]], tmp_path / "again.html").read_text()
    assert again == page


def test_what_cannot_be_drawn_is_one_sentence(profiles: list[KeptProfile], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ends neither in"):
        draw_profiles(profiles, tmp_path / "profile.gif")
    with pytest.raises(UserError, match="not all measured in the mode rank"):
        draw_profiles(profiles, tmp_path / "profile.png", mode="rank")
    with pytest.raises(UserError, match="cannot write"):
        draw_profiles(profiles, tmp_path / "nowhere" / "profile.png")
    with pytest.raises(UserError, match="from 1 to 8 profiles"):
        draw_profiles([], tmp_path / "profile.png")
