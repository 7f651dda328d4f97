"""A small release, built once and copied for each test that harms it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ayllu.release.build import ReleaseSummary, build_release
from support.release import inputs


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for keys that is not the user's."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AYLLU_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory, home: Path) -> dict[str, Any]:
    """The arguments of `build_release`, but for the folder."""
    return inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]) -> ReleaseSummary:
    folder = tmp_path_factory.mktemp("built")
    figure = folder / "loss_curve.png"
    figure.write_bytes(b"\x89PNG\r\n\x1a\n")
    return build_release(folder / "release", **given, figures=[figure])


@pytest.fixture
def release(built: ReleaseSummary, tmp_path: Path) -> Path:
    """A copy to harm."""
    return Path(shutil.copytree(built.folder, tmp_path / "release"))
