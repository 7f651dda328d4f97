"""What changed between two releases is named, and scores are compared on the same items."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.release.build import build_release
from ayllu.release.documents.changes import changes, keep_earlier
from ayllu.release.documents.earlier import kept_earlier
from ayllu.release.documents.write import write_documents
from ayllu.release.verify import verify_release
from support.release import edit, seal_again


def test_a_release_has_not_changed_from_itself(built) -> None:
    found = changes(built.folder, built.folder)
    assert all(found[kind] == [] for kind in ("model", "sources", "settings", "files")) and found["same_key"]
    assert found["scores"] and {row["difference"] for row in found["scores"]} == {0.0}


def test_what_changed_is_named_with_both_values(built, release, capsys) -> None:
    edit(release / "sources.json", lambda sources: sources["corpus"][1].update(documents=9))
    # Documents follow from the records; without them it is a release of before there were any.
    shutil.rmtree(release / "documents")
    edit(release / "references.json", lambda references: None)
    for name in ("README.md", "TECHNICAL_REPORT.md"):
        page = (release / name).read_text()
        assert "| 7 | 12 |" in page
        (release / name).write_text(page.replace("| 7 | 12 |", "| 9 | 12 |"))
    seal_again(release, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SystemExit) as end:
        main(["release", "diff", str(built.folder), str(release), "--json"])
    assert end.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sources"] == [{"name": "books: documents", "before": 7, "after": 9}]
    assert not found["same_key"] and found["model"] == []
    assert {row["name"] for row in found["files"]} > {"documents/spdx.json"}


def test_a_release_that_was_changed_on_the_way_is_not_compared(built, release) -> None:
    (release / "README.md").write_text("# Better")
    with pytest.raises(UserError, match="not verified"):
        changes(built.folder, release)


def test_strange_records_of_a_release_without_documents_end_in_a_sentence(built, release, tmp_path) -> None:
    shutil.rmtree(release / "documents")
    edit(release / "records.json", lambda records: records["training"].update(settings=["x"]))
    edit(release / "scores.json", lambda scores: scores["about"].update(hazards={"x": 3}))
    seal_again(release)
    assert verify_release(release).verified
    with pytest.raises(UserError, match="cannot be compared"):
        changes(built.folder, release)
    with pytest.raises(UserError, match="no document can be made"):
        write_documents(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_release_holds_its_change_log_against_the_one_before(built, given, tmp_path) -> None:
    """Scores paired by item, sources that differ, and a page that follows from the records."""
    digest = keep_earlier(built.folder, tmp_path / "cache")
    assert keep_earlier(shutil.copytree(built.folder, tmp_path / "elsewhere"), tmp_path / "cache") == digest
    sources = [source | {"documents": 11} if source["name"] == "books" else source for source in given["sources"]]
    later = given | {"sources": sources, "version": "1.1.0"}
    build_release(tmp_path / "later", **later, earlier=kept_earlier(digest, tmp_path / "cache"))
    assert verify_release(tmp_path / "later").problems == ()
    said = json.loads((tmp_path / "later" / "records.json").read_text())["changes"]
    assert said["sources"] == [{"name": "books: documents", "before": 7, "after": 11}]
    assert said["same_key"] and said["model"] == [] and {row["difference"] for row in said["scores"]} == {0.0}
    page = (tmp_path / "later" / "documents" / "CHANGES.md").read_text()
    assert "| books: documents | 7 | 11 |" in page and "| hellaswag accuracy_norm |" in page
    assert "documents/CHANGES.md" in (tmp_path / "later" / "README.md").read_text()
    assert not (built.folder / "documents" / "CHANGES.md").exists()


def test_a_change_log_is_no_place_for_what_the_release_before_wrote(given, tmp_path, built) -> None:
    """Names come from strangers' records: no table is broken, and no markup comes in."""
    digest = keep_earlier(built.folder, tmp_path)
    earlier = kept_earlier(digest, tmp_path)
    sources = {"x | y\n# <b>": "one"}
    harmed = replace(earlier, facts=earlier.facts | {"sources": sources})
    build_release(tmp_path / "later", **given, earlier=harmed)
    page = (tmp_path / "later" / "documents" / "CHANGES.md").read_text()
    assert "x \\| y # &lt;b>" in page and "\n# &lt;" not in page
    with pytest.raises(UserError, match="give it with --previous again"):
        kept_earlier("0" * 64, tmp_path)
