"""Every figure that somebody else measured says whose it is, and NOTICE lists the works that rows were taken from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ayllu.fleet.catalogue import read_table
from ayllu.release.licences import PERMITTING

ROOT = Path(__file__).parents[2]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
SOURCES = {row["source"]: row for row in read_table("sources.csv")}
TAKEN = [row for row in SOURCES.values() if row["taken"] == "table"]
PUBLISHED = re.compile(r"arXiv:\d{4}\.\d{5}|https://|[\w-]+/[\w.-]+|MLPerf")
"""A paper, a page, a repository, or the results of a benchmark."""
OWN_WORDS = re.compile(
    r"arXiv:\d{4}\.\d{5}|data sheet|white paper|config\.json|engineering\.fb\.com|Epoch AI ml_hardware\.csv"
    r"|\b(?:HPCA|AWS|Google Cloud|CSCS|torchtitan) |announcement of|failures on 63 nodes|^same$|^example"
)
"""How the other tables name a document: whose it is stands in the row itself."""


def repository(row: dict[str, str]) -> str:
    """OWNER/NAME, or the title, of a publication."""
    found = re.findall(r"(?<![\w/.])[A-Za-z][\w-]*/[\w.-]+", re.sub(r"https://\S+|\(.*?\)", "", row["publication"]))
    return found[-1] if found else row["publication"].split(",")[0]


def test_every_run_names_its_source_and_the_place_in_it() -> None:
    rows = read_table("training_runs.csv")
    assert len(rows) > 600
    for row in rows:
        assert row["source"] in SOURCES, row["source"]
        assert PUBLISHED.search(row["where"]) or re.match(r"[\w.]+\.\w+/", row["where"]), row["where"]
        assert not row["where"].endswith((" via", " from", "(MI", ".js", "; a")), f"cut off: {row['where']}"


def test_every_source_is_published_and_what_is_taken_over_has_a_licence_that_allows_it() -> None:
    assert {row["taken"] for row in SOURCES.values()} == {"table", "figures"}
    for row in SOURCES.values():
        assert PUBLISHED.search(row["publication"]), row["source"]
    for row in TAKEN:
        assert row["licence"] in PERMITTING, f"{row['source']}: {row['licence']!r}"


def test_notice_lists_what_is_taken_over_with_its_licence() -> None:
    listed = re.findall(r"^  (\S.*?)\. ([\w.-]+)$", NOTICE, re.MULTILINE)
    assert len(listed) == len({repository(row) for row in TAKEN})
    for row in TAKEN:
        assert any(repository(row) in line and row["licence"] == licence for line, licence in listed), row["source"]


@pytest.mark.parametrize("table", ["accelerators", "experts", "failure_causes", "failure_rates", "models", "prices"])
def test_other_tables_name_a_document_in_each_row(table: str) -> None:
    for row in read_table(f"{table}.csv"):
        assert OWN_WORDS.search(row["source"]) or any(name in row["source"] for name in SOURCES), row


def test_published_clusters_name_a_work_of_the_list() -> None:
    for path in sorted((ROOT / "bench" / "reproduce" / "data").glob("*.csv")):
        text = path.read_text(encoding="utf-8")
        if "source" in text.splitlines()[0]:
            for line in text.splitlines()[1:]:
                assert re.search(r"(AcmeTrace|HeliosArtifact) .*\((CC BY 4\.0|MIT)\)", line), (
                    f"{path.name}: {line[:80]}"
                )
        else:
            assert path.name in NOTICE


def test_files_of_others_are_in_notice_and_say_their_licence() -> None:
    schemas = [*(ROOT / "src").rglob("*.schema.json"), *(ROOT / "tests").rglob("*.schema.json")]
    assert len(schemas) == 4
    for path in schemas:
        assert path.relative_to(ROOT).as_posix() in NOTICE
        assert "Apache-2.0" in json.loads(path.read_text(encoding="utf-8"))["source"]
