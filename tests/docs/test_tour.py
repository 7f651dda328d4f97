"""The notebook `docs/tour.ipynb` runs from its first cell to its last, and is kept without what it printed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TOUR = Path(__file__).resolve().parents[2] / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def tour() -> nbformat.NotebookNode:
    return nbformat.read(TOUR, as_version=4)


def test_it_is_kept_without_what_it_printed(tour: nbformat.NotebookNode) -> None:
    nbformat.validate(tour)
    for cell in tour.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_it_runs(tour: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("AYLLU_HOME", str(tmp_path / "home"))
    NotebookClient(tour, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(str(output) for cell in tour.cells for output in cell.get("outputs", []))
    for words in ("never made here", "('tour.learn', 'kept')", "'documents': 1", ".gguf", "s a step"):
        assert words in printed, words
    assert not (tmp_path / "home").exists(), "it keeps what it makes in a folder of its own"
