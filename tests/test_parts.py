"""No missing part hides a failure: what a laptop may lack, CI must have; and what is wrong is no missing part."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ayllu.data import archive as archives
from ayllu.data.archive import Archive
from ayllu.lab.error import UserError
from support.archives import fetched
from support.parts import need, need_module

NOTHING = Archive(registry="pypi", name="nothing", version="1", filename="nothing-1.whl", sha256="0" * 64)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AYLLU_CACHE", str(tmp_path))


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_part_is_passed_over_here_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no such thing"):
        need(None, "no such thing")
    with pytest.raises(outcome, match="no such module"):
        need_module("no_such_module", "no such module")
    need("there", "never said")
    assert need_module("re", "never said") is re


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_registry_out_of_reach_is_a_missing_part(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(outcome, match="cannot fetch nothing"):
        fetched(NOTHING)


def test_another_digest_is_no_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop either: it would be a file that somebody changed."""
    monkeypatch.setenv("CI", "")
    monkeypatch.setattr(archives, "_run_client", lambda _, scratch: (scratch / NOTHING.filename).write_bytes(b"x"))
    with pytest.raises(UserError, match="it is not the file that was pinned"):
        fetched(NOTHING)
    with pytest.raises(UserError, match=r"brought nothing-1\.whl instead of other"):
        fetched(replace(NOTHING, filename="other"))


def test_every_test_passes_over_missing_parts_in_this_one_way() -> None:
    """But for what CI cannot have: a GPU, and a file that nobody packages."""
    here = Path(__file__).parent
    allowed = ("needs an NVIDIA GPU", "AYLLU_JOBSET_CRD")
    found = [
        f"{path.relative_to(here)}: {line.strip()}"
        for path in sorted(here.rglob("*.py"))
        if path.name not in ("parts.py", Path(__file__).name)
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"pytest\.skip|importorskip|mark\.skip|mark\.xfail|pytest\.xfail", line)
        if not any(reason in line for reason in allowed)
    ]
    assert found == []
