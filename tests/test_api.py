"""`import ayllu`: what it offers, what it does not import, and what its functions give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ayllu
from ayllu.lab.graph import Context, stage


@stage()
def small_release(ctx: Context, *, name: str, seconds: float) -> None:
    (ctx.folder / "release").mkdir()
    (ctx.folder / "release" / "name").write_text(name)
    ctx.note("predicted", {"seconds": seconds, "bits_per_byte": None})
    ctx.note("measured", {"seconds": 2 * seconds, "bits_per_byte": 1.5})


def small(*, seconds: float = 1.0, name: str = "small") -> object:
    return small_release(name=name, seconds=seconds)


def test_importing_ayllu_imports_nothing_that_computes() -> None:
    program = (
        "import sys, ayllu; ayllu.run, ayllu.UserError, dir(ayllu)\n"
        "print([name for name in ('torch', 'numpy', 'cyclopts', 'fastapi', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_explained() -> None:
    for name in ayllu.__all__:
        assert getattr(ayllu, name).__doc__
        assert name in dir(ayllu)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ayllu.nothing  # noqa: B018


def test_a_recipe_of_ones_own_runs_once_and_gets_a_channel(tmp_path: Path) -> None:
    rows = ayllu.why(small, home=tmp_path)
    assert [(row["stage"], row["state"]) for row in rows] == [("small_release", "runs")]
    report = ayllu.run(small, home=tmp_path, seconds=4.0, name="mine")
    assert (report.release / "name").read_text() == "mine"
    assert (report.recipe, report.channel) == ("small", "mine")
    assert report.predicted == {"seconds": 4.0, "bits_per_byte": None}
    assert report.measured["seconds"] == 8.0
    assert json.loads((tmp_path / "channels" / "mine.json").read_text())["name"] == "mine"
    again = ayllu.run(small, home=str(tmp_path), seconds=4.0, name="mine")
    assert again.stages == report.stages
    assert ayllu.why(small, home=tmp_path, seconds=4.0, name="mine")[0]["state"] == "kept"
    assert set(json.loads(json.dumps(report.as_json()))) == {
        *("recipe", "release", "channel", "predicted", "measured", "bits_per_byte", "final_loss", "stages", "seconds")
    }


def test_what_the_user_can_mend_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ayllu.UserError, match=r"no recipe 'nope'; choose one of .*cria"):
        ayllu.run("nope", home=tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ayllu.UserError, match="add --layout"):
        ayllu.run(small, home=tmp_path)
    with pytest.raises(ayllu.UserError, match="needs 2 processes and this is one"):
        ayllu.run(small, home=tmp_path, layout="dp_shard=2")
    assert not list(tmp_path.glob("artifacts/*"))
