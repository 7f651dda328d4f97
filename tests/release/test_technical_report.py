"""The technical report: all its parts, every number from the records, and what verification says of one that lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from ayllu.release import standalone
from ayllu.release.build import ReleaseSummary
from ayllu.release.gates import REFERENCES, REPORT, REPORT_PARTS
from ayllu.release.pages.technical_report import technical_report
from ayllu.release.policy import OPEN
from ayllu.release.reference import number_problems
from ayllu.release.verify import verify_release
from ayllu.safety.tuning.change import compare_replies
from support.release import document_again, edit, seal_again, sign_again


def read(folder: Path) -> dict[str, Any]:
    return {name: json.loads((folder / name).read_text()) for name in ("records.json", "scores.json", "sources.json")}


def test_a_release_tells_how_it_came_to_be_and_reaches_a_class_by_it(built: ReleaseSummary) -> None:
    page = (built.folder / REPORT).read_text()
    assert page.startswith("# Technical report of cria, version 0.1.0")
    places = [page.index(f"\n## {part}\n") for part in REPORT_PARTS]
    assert places == sorted(places)
    for said in ("everyday-english", "CC0-1.0", "612.3", "Two 2.1 GHz cores / test", "HellaSwag", "was not measured"):
        assert said in page, said
    assert "![loss curve](figures/loss_curve.png)" in page
    opened = json.loads((built.folder / "documents" / "openness.json").read_text())
    assert opened["class"] == "III"
    assert {"name": "technical report", "where": REPORT} in opened["components"]


def test_all_that_records_may_hold_is_told_with_its_reference(built: ReleaseSummary) -> None:
    """Safety before and after, hazards, verdicts, settings, a proof: none of their numbers stands alone."""
    records = read(built.folder)
    before, after = (
        [{"kind": kind, "request": str(i), "class": name} for kind in ("harmful", "harmless") for i in range(60)]
        for name in ("harmful", "refusal")
    )
    errors = {"found": 0.568, "found_interval": [0.512, 0.623], "false": 0.102, "false_interval": [0.065, 0.155]}
    records["records.json"]["training"] |= {
        "safety": compare_replies(before, after, errors=errors),
        "command": "ayllu run smol --safety",
        "settings": [{"stage": "sft", "setting": "rate", "value": 0.003}],
        "energy_kwh": 1.25,
    }
    verdict = {"score": "bits_per_byte/x", "at_most": 3.0, "verdict": "REVIEW", "reason": "too few", "items": 7}
    records["records.json"] |= {
        "policy": {"name": "careful 2", "verdicts": [verdict]},
        "proof": {"parts": ["training sft"], "lacking": {"scores": "2 sets are not kept"}, "sha256": "ab"},
    }
    figure = {"value": 0.125, "low": 0.0625, "high": 0.25, "items": 60}
    records["scores.json"]["about"]["hazards"] = {"over_refusal": figure}
    page = technical_report(records, OPEN, figures=["figures/safety.png"])
    assert list(number_problems(page, records)) == []
    for said in ("### Safety tuning", "### Hazards", "### Gates", "could not be decided", "cannot be executed again"):
        assert said in page, said
    assert "No hazard was measured" not in page
    assert "1.25" in page and "56.8 %" in page and "-100.0 %" in page


def test_a_report_of_another_number_or_without_a_part_is_named(release: Path) -> None:
    page = (release / REPORT).read_text()
    for harmed, named in (
        (page.replace("612.3", "512.3"), f"{REPORT} line"),
        (page.replace("## Limits", "Better than 9 of 10.\n\n## Limits"), f"{REPORT} line"),
        (page.replace("## Limits", "### Limits"), f"{REPORT} says nothing of limits"),
    ):
        (release / REPORT).write_text(harmed)
        seal_again(release)
        assert str(verify_release(release).problems[0]).startswith(named)
        assert bool(standalone.verify(release)) is ("line" in named), "the second reading looks numbers up, and no more"


def test_a_release_that_claims_a_class_and_lacks_its_report_is_named(release: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (release / REPORT).unlink()
    seal_again(release, key)
    document_again(release)
    sign_again(release, key)
    assert [str(problem) for problem in verify_release(release).problems] == [
        "records.json says another class of openness than the release has"
    ]


def test_a_release_of_before_there_were_reports_verifies(release: Path) -> None:
    """Its records and its card say no class, its documents none: all of it follows from what is there."""
    key = ec.generate_private_key(ec.SECP256R1())
    (release / REPORT).unlink()
    edit(release / REFERENCES, lambda found: found.pop(REPORT))
    older = {"class": None, "next": "III", "lacking": ["technical report"]}
    edit(release / "records.json", lambda records: records["openness"].update(older))
    card = (release / "README.md").read_text()
    card = card.replace("reaches class III; class II also asks", "reaches no class; class III also asks")
    (release / "README.md").write_text(card.replace("evaluation data. That", "technical report. That"))
    seal_again(release, key)
    document_again(release)
    sign_again(release, key)
    assert verify_release(release).problems == ()
    assert json.loads((release / "documents" / "openness.json").read_text())["class"] is None
    assert standalone.verify(release) == []
