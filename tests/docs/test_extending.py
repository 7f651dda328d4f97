"""docs/extending.md: every example runs and prints what it says, and entry points of a package are found by name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import save_tiny_model

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
BLOCK = r"```{}\n(.*?)```"


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"AYLLU_HOME": str(folder / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_prints_what_the_page_says(title: str, tmp_path: Path) -> None:
    (program,) = re.findall(BLOCK.format("python"), SECTIONS[title], re.DOTALL)
    (printed,) = re.findall(BLOCK.format("text"), SECTIONS[title], re.DOTALL)
    model = save_tiny_model(tmp_path / "model")
    done = run(f"from pathlib import Path\nMODEL = Path({str(model)!r})\n{program}", tmp_path)
    assert done.stdout == printed, done.stderr


def test_every_kind_of_addition_has_its_example() -> None:
    groups = re.findall(r'entry-points\."ayllu\.(\w+)"', PAGE)
    assert sorted(groups) == ["engines", "methods", "recipes", "sets", "sources"]
    assert len(SECTIONS) == len(groups)


PACKAGE = """
from ayllu.data.document import Document, Source

def harbour(*, most: int = 1):
    "Count boats."
    from ayllu.lab.graph import stage

    @stage(identity="mylab.count")
    def count(ctx, *, most): (ctx.folder / "boats").write_text(str(most))

    return count(most=most)

def read(cache):
    yield Document(text="The tide is low.", source="tides", id="0")

TIDES = Source(name="tides", title="Tides", licence="CC0-1.0", description="", read=read)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed package that brings a recipe, a source, and one that is broken."""
    (tmp_path / "mylab.py").write_text(PACKAGE)
    information = tmp_path / "mylab-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[ayllu.recipes]\nharbour = mylab:harbour\nbroken = mylab_missing:recipe\n\n"
        "[ayllu.sources]\ntides = mylab:TIDES\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_recipe_of_an_installed_package_is_a_command_and_a_broken_one_stops_no_other(installed: Path) -> None:
    program = "from ayllu.cli.main import main; main(['why', '{}', '--json'])"
    done = run(program.format("harbour"), installed)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["stages"]
    assert (row["stage"], row["state"]) == ("mylab.count", "runs")
    assert "the recipe 'broken' cannot be loaded from mylab_missing:recipe of the package mylab" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_source_of_an_installed_package_is_found_by_its_name(installed: Path) -> None:
    done = run("from ayllu.data.sources.registry import find_source; print(find_source('tides').title)", installed)
    assert done.stdout == "Tides\n", done.stderr


def test_a_name_that_is_taken_is_refused() -> None:
    from ayllu.lab.error import UserError
    from ayllu.recipes.registry import RECIPES

    with pytest.raises(UserError, match="there is a recipe 'cria' already"):
        RECIPES.add("cria")(lambda: None)


def test_names_that_stand_for_something_of_ours_are_refused() -> None:
    from ayllu.data.sources import registry
    from ayllu.evals.likelihood import sets
    from ayllu.lab.error import UserError
    from ayllu.serve.engines.choose import ENGINES

    for table, name in ((ENGINES, "torch"), (sets.OTHERS, "small"), (registry.OTHERS, "sotu")):
        with pytest.raises(UserError, match="already"):
            table.add(name)(None)  # type: ignore[attr-defined]
