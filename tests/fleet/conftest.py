"""What every test of the fleet starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ayllu.fleet.validation.validate import validate


@pytest.fixture(autouse=True)
def no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own: whoever runs the tests may have calibrated the machine."""
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def report() -> Any:
    """The packaged table's validation, each source held out."""
    return validate(by_family=False)
