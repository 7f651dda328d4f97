"""What every test of the fleet starts from."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own: whoever runs the tests may have calibrated the machine."""
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path / "cache"))
