"""Verification by re-execution: a small release, really trained and measured, and what is found when something lies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.release.mutations.executed import LIES, Lie, Made, make, tried
from ayllu.release.proof.folder import PROOF
from ayllu.release.proof.kind import compare_machines
from ayllu.train.machine import arithmetic

PARTS = {"data pipeline", "generations", "log-likelihoods", "scores", "training small"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Made:
    return make(tmp_path_factory.mktemp("executed") / "made")


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Made:
    """One to harm."""
    shutil.copytree(made.place, tmp_path / "made")
    return Made(place=tmp_path / "made", key=made.key)


def verify(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code = app(["verify", *map(str, arguments), "--json"], result_action="return_value")
    return code, json.loads(capsys.readouterr().out)


def results(told: dict[str, Any]) -> dict[str, str]:
    return {part["part"]: part["result"] for part in told["re_execution"]["parts"]}


def test_everything_comes_out_to_the_last_bit_on_the_machine_that_made_it(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = verify(capsys, made.release, "--re-execute", "--seed", "3")
    assert code == 0 and told["verified"]
    again = told["re_execution"]
    assert again["succeeded"] and again["problems"] == [] and again["seed"] == 3
    assert results(told) == dict.fromkeys(PARTS, "PASS")
    said = {part["part"]: part["told"] for part in again["parts"]}
    for name in ("generations", "log-likelihoods", "training small"):
        assert said[name] == "equal to the last bit"
    assert app(["verify", str(made.release), "--re-execute"], result_action="return_value") == 0
    out = capsys.readouterr().out
    assert "training small: PASS" in out and "all that the release promises came out as it was" in out


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_every_lie_is_found_by_name(lie: Lie, made: Made, tmp_path: Path) -> None:
    problems = tried(tmp_path / "lie", made, lie)
    assert any(problem.startswith(lie.found) for problem in problems), problems


def test_without_the_proof_every_part_is_named_and_none_succeeds(
    copy: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copy.proof)
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 1
    assert told["verified"], "what the files say is as true as before"
    assert not told["re_execution"]["succeeded"]
    assert results(told) == dict.fromkeys(PARTS, "NOT RE-EXECUTED")
    assert app(["verify", str(copy.release), "--re-execute"], result_action="return_value") == 1
    out = capsys.readouterr().out
    assert "training small: NOT RE-EXECUTED" in out and "NOT verified by re-execution" in out and "--proof" in out


def test_a_release_that_knows_of_no_proof_is_not_verified_by_one(
    release: Path, made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = verify(capsys, release, "--re-execute", "--proof", made.proof)
    assert code == 1 and set(results(told).values()) == {"NOT RE-EXECUTED"}


def test_a_harmed_release_is_not_executed_at_all(copy: Made, capsys: pytest.CaptureFixture[str]) -> None:
    (copy.release / "LICENSE").write_text("mine")
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 1 and told["re_execution"] is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"release": 1}', b"[" * 100_000])
def test_a_damaged_proof_ends_in_one_sentence(content: bytes, copy: Made, capsys: pytest.CaptureFixture[str]) -> None:
    (copy.proof / PROOF).write_bytes(content)
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 1
    (problem,) = told["re_execution"]["problems"]
    assert problem["file"] == "proof/proof.json" and "changed after the release was signed" in problem["reason"]


DAMAGES = {
    "stretch.json": b'{"config": {"optimizer": {}}}',
    "batch-000000005.safetensors": b"no tensors",
    "checkpoint.safetensors": b"\x08\0\0\0\0\0\0\0{}      ",
}


@pytest.mark.parametrize("file", DAMAGES)
def test_a_damaged_file_that_was_signed_ends_in_one_sentence(
    file: str, copy: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    """The publisher signs nonsense: it is said of that part, and the others are executed all the same."""
    (copy.proof / "training" / "small" / file).write_bytes(DAMAGES[file])
    shutil.rmtree(copy.release)
    copy.build()
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 1
    assert results(told) == dict.fromkeys(PARTS, "PASS") | {"training small": "FAIL"}
    (problem,) = told["re_execution"]["problems"]
    assert "training small" in problem["reason"] and "\n" not in problem["reason"]


def test_a_batch_can_name_no_class_of_its_own(copy: Made, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy.proof / "training" / "small" / "stretch.json"
    facts = json.loads(path.read_text())
    facts["batches"][0]["batch"]["kind"] = "Popen"
    path.write_text(json.dumps(facts))
    shutil.rmtree(copy.release)
    copy.build()
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 1 and results(told)["training small"] == "FAIL"


def test_on_another_kind_of_processor_the_tolerances_hold_and_it_says_so(
    copy: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((copy.proof / PROOF).read_text())
    for part in facts["parts"].values():
        if "machine" in part:
            part["machine"]["processor"] = "Another"
    facts["parts"]["log-likelihoods"]["machine"]["threads"] = 100_000
    (copy.proof / PROOF).write_text(json.dumps(facts))
    path = copy.proof / "training" / "small" / "stretch.json"
    stretch = json.loads(path.read_text())
    stretch["losses"] = [loss * (1 + 1e-5) for loss in stretch["losses"]]
    path.write_text(json.dumps(stretch))
    shutil.rmtree(copy.release)
    copy.build()
    code, told = verify(capsys, copy.release, "--re-execute")
    assert code == 0, told
    said = {part["part"]: part["told"] for part in told["re_execution"]["parts"]}
    assert "within the tolerances (another processor: Another there" in said["training small"]
    assert "100000 threads there" in said["log-likelihoods"]


def test_the_kind_of_a_machine_is_its_processor_its_threads_and_the_library() -> None:
    here = arithmetic()
    assert compare_machines(here, here).same
    assert compare_machines(here | {"versions": here["versions"] | {"python": "2.7"}}, here).same
    for change in ({"processor": "x"}, {"flags": "x"}, {"instructions": "x"}, {"device": "x"}, {"threads": None}):
        assert not compare_machines(here | change, here).same
    assert not compare_machines(here | {"versions": {"torch": "1.0"}}, here).same
    assert not compare_machines(here, here, compiled=True).same


def test_options_of_the_re_execution_need_it(made: Made) -> None:
    with pytest.raises(UserError, match="give --re-execute too"):
        app(["verify", str(made.release), "--proof", str(made.proof)], result_action="return_value")
