"""Published is what was verified, byte by byte, in every place; the hub's own client speaks to a stand-in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from ayllu.cli.release import app
from ayllu.lab.error import UserError
from ayllu.release.mutations.executed import Made, make
from ayllu.release.proof.execute import re_execute
from ayllu.release.publish.page import page
from ayllu.release.publish.places import publish
from ayllu.release.verify import verify_release
from support.hub_uploads import hub


def test_a_folder_and_a_site_hold_the_release_and_are_never_written_over(built, tmp_path) -> None:
    assert publish(built.folder, str(tmp_path / "copy"))["files"] == built.files
    assert verify_release(tmp_path / "copy", built.folder / "release-key.pub").verified
    with pytest.raises(UserError, match="there already"):
        publish(built.folder, str(tmp_path / "copy"))
    where = publish(built.folder, f"site:{tmp_path / 'site'}")["where"]
    assert verify_release(tmp_path / "site" / "cria" / "0.1.0").verified and where.endswith("cria/0.1.0")
    shown = (tmp_path / "site" / "cria" / "0.1.0.html").read_text()
    assert "<h1>cria</h1>" in shown and "<table>" in shown and 'href="0.1.0/documents/croissant.json"' in shown
    assert 'href="cria/0.1.0.html"' in (tmp_path / "site" / "index.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "site"}, "no draft is left"


def test_the_hubs_client_uploads_it_and_strangers_get_what_was_signed(built, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    # The stand-in takes large files by LFS; the client's other way, Xet, is a service of its own.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # as tests have it; this server is here
    with hub() as there:
        there.repositories["me/cria"] = {"old.bin": b"of the release before"}
        said = publish(built.folder, "hf:me/cria", endpoint=there.address)
        held = there.repositories["me/cria"]
        assert said["where"].startswith(f"{there.address}/me/cria/tree/")
        assert "old.bin" not in held
        ours = {path.relative_to(built.folder).as_posix(): path.read_bytes() for path in built.folder.rglob("*")
                if path.is_file()}  # fmt: skip
        assert {name: content for name, content in held.items() if name != ".gitattributes"} == ours
        assert there.large, "weights go by LFS"
        assert there.cards and "model-index" in there.cards[0], "the hub is asked what it thinks of the card"


@pytest.fixture(scope="module")
def proven(tmp_path_factory, home) -> Made:
    """A release with its proof, really trained and measured."""
    return make(tmp_path_factory.mktemp("proven") / "made")


def test_the_proof_goes_along_and_is_executed_from_where_it_lies(proven, tmp_path, capsys) -> None:
    to = tmp_path / "out" / "small"
    assert app(["publish", str(proven.release), "--to", str(to)], result_action="return_value") == 0
    assert f"its proof: {to}-proof" in capsys.readouterr().out
    assert {path.name for path in to.parent.iterdir()} == {"small", "small-proof"}, "no draft is left"
    assert re_execute(verify_release(to)).succeeded
    where = publish(proven.release, f"site:{tmp_path / 'site'}")
    assert where["proof"] == f"{where['where']}-proof"
    assert not list(Path(where["where"]).rglob("proof.json")), "beside the release, never in it"


def test_a_proof_that_is_left_out_or_is_not_there_is_said(proven, tmp_path, capsys) -> None:
    given = ["publish", str(proven.release), "--to", str(tmp_path / "one"), "--without-proof"]
    assert app(given, result_action="return_value") == 0
    assert "its proof was left out" in capsys.readouterr().out and not (tmp_path / "one-proof").exists()
    alone = Path(shutil.copytree(proven.release, tmp_path / "alone" / "release"))
    assert app(["publish", str(alone), "--to", str(tmp_path / "two")], result_action="return_value") == 0
    assert "give it with --proof" in capsys.readouterr().out
    found = publish(alone, str(tmp_path / "three"), proof=proven.proof)
    assert found["proof"] == str(tmp_path / "three-proof")
    with pytest.raises(UserError, match="give one of the two"):
        app([*given, "--proof", str(proven.proof)], result_action="return_value")


def test_another_proof_is_not_published(proven, built, tmp_path) -> None:
    changed = Path(shutil.copytree(proven.proof, tmp_path / "changed"))
    (changed / "answers.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="only the proof that the release was signed with"):
        publish(proven.release, str(tmp_path / "out"), proof=changed)
    with pytest.raises(UserError, match="built without a proof"):
        publish(built.folder, str(tmp_path / "out"), proof=proven.proof)
    shutil.copytree(changed, tmp_path / "out-proof")
    with pytest.raises(UserError, match="take it away"):
        publish(proven.release, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="inside the proof"):
        publish(proven.release, str(proven.proof / "out"))


def test_the_hub_gets_the_proof_in_a_repository_of_its_own(proven, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub() as there:
        said = publish(proven.release, "hf:me/small", endpoint=there.address)
        assert said["proof"].startswith(f"{there.address}/me/small-proof/tree/")
        held = set(there.repositories["me/small-proof"]) - {".gitattributes"}
        assert held == {path.relative_to(proven.proof).as_posix() for path in proven.proof.rglob("*") if path.is_file()}
        assert "proof.json" not in there.repositories["me/small"]


def test_a_hub_that_does_not_answer_is_one_sentence(built, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with pytest.raises(UserError, match="me/cria could not be published"):
        publish(built.folder, "hf:me/cria", endpoint="http://127.0.0.1:9")


def test_what_does_not_verify_is_not_published(built, tmp_path) -> None:
    folder = shutil.copytree(built.folder, tmp_path / "changed")
    (folder / "README.md").write_text("# Better")
    for place in (str(tmp_path / "copy"), f"site:{tmp_path / 'site'}", "hf:me/cria"):
        with pytest.raises(UserError, match="not verified"):
            publish(folder, place)
    assert not (tmp_path / "copy").exists() and not (tmp_path / "site").exists()


def test_a_page_takes_nothing_of_a_card_for_html() -> None:
    shown = page(
        "<x>", "---\na: 1\n---\n# A <script>\n\n| a | b |\n| --- | --- |\n| `<i>` | **b** |\n\n[x](javascript:y)"
    )
    assert "<script>" not in shown and "<i>" not in shown and 'href="javascript' not in shown
    assert "<td><code>&lt;i&gt;</code></td><td><strong>b</strong></td>" in shown and "a: 1" not in shown


def test_a_card_leads_nowhere_but_into_its_release() -> None:
    shown = page("x", "[a](//example.org/a) ![b](//example.org/b.png) [c](/etc/c) [d](../d) [e](documents/e.json)")
    assert shown.count("href=") == 1 and "src=" not in shown and 'href="documents/e.json"' in shown


@pytest.mark.parametrize("to", ["hf:", "site:", "s3:bucket/cria", "file:///tmp/cria"])
def test_a_place_of_no_known_kind_is_no_folder_of_that_name(built, tmp_path, monkeypatch, to) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is no place"):
        publish(built.folder, to)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["{}/copy", "site:{}", "site:{}/site"])
def test_a_release_is_not_published_into_itself(release, to) -> None:
    with pytest.raises(UserError, match="inside the release"):
        publish(release, to.format(release))
    assert verify_release(release).verified


def test_a_table_without_heads_has_no_empty_row() -> None:
    shown = page("x", "|  |  |\n| --- | --- |\n| layers | 2 |\n\n|  | a |\n| --- | --- |\n| b | 1 |")
    assert "<table><tr><td>layers</td><td>2</td></tr></table>" in shown
    assert "<tr><th></th><th>a</th></tr><tr><td>b</td>" in shown
