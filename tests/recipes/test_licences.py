"""The gate of licences speaks before anything runs, and a model that may not be released can be kept and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ayllu
from ayllu.lab.error import UserError
from ayllu.recipes.cria import cria
from ayllu.recipes.llama import llama
from ayllu.release.licences import read_licence
from ayllu.release.private import LICENCE, build_private
from ayllu.release.verify import verify_release
from support.release import inputs

Recipe = Callable[..., Any]
BOTH = pytest.mark.parametrize("recipe", [cria, llama], ids=["cria", "llama"])


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.txt").write_text("Some words of mine.")
    return f"folder:{tmp_path / 'own'}"


@BOTH
def test_a_licence_that_stops_the_release_stops_the_run_before_it_starts(recipe: Recipe, own: str) -> None:
    with pytest.raises(UserError, match=r"folder:own could not be released: .*not stated.* --licence, .* --private"):
        recipe(sources=("sotu", own))
    with pytest.raises(UserError, match=r"says “NC”.*--licence"):
        recipe(sources=(own,), licence="MIT AND (CC-BY-NC-4.0)")
    with pytest.raises(UserError, match=r"hf:someone/texts could not be released.*--licence"):
        recipe(sources=("hf:someone/texts",))
    with pytest.raises(UserError, match="there is no file or folder"):
        recipe(sources=("folder:/nowhere/at/all",), licence="MIT")
    assert recipe(sources=(own,), licence="MIT OR GPL-3.0-only").arguments["policy"] == "open"


@BOTH
def test_a_private_model_needs_no_licence(recipe: Recipe, own: str) -> None:
    assert recipe(sources=(own,), private=True).arguments["policy"] == "private"
    assert recipe(sources=(own,), licence="CC-BY-NC-4.0", private=True).arguments["policy"] == "private"


def test_a_private_model_serves_and_exports_and_is_no_release(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    folder = tmp_path / "kept" / "release"
    sources = [{"name": "folder:own", "licence": "not stated"}]
    build_private(
        folder,
        weights=given["weights"],
        scores=given["scores"],
        sources=sources,
        records={"description": "mine"},
        name="mine",
    )
    model = ayllu.load(folder)
    assert model.about.name == "mine" and model.about.licence == LICENCE
    assert model.complete("the", max_tokens=3, temperature=0.0)
    assert "config.json" in model.export("hf", tmp_path / "out")
    assert "folder:own: not stated" in (folder / "README.md").read_text()
    assert read_licence(LICENCE).objection
    with pytest.raises(UserError, match="is no release"):
        verify_release(folder)
    assert not {"LICENSE", "manifest.json", "model.sig"} & {path.name for path in folder.iterdir()}
