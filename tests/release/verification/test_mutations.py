"""The proof that verification finds what it should can itself fail, and does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ayllu.cli.release import app
from ayllu.release.gates import Problem
from ayllu.release.mutations import prove
from ayllu.release.verify import verify_release

NAMED_IN_THE_PLAN = (
    *("flipped byte in the weights", "swapped run", "weakened threshold", "policy signed after the evaluation"),
    *("replayed older version", "added code", "removed file", "renamed file", "case-colliding file"),
    *("link in place of a file", "edited card", "edited score with the samples edited to match"),
    *("swapped tokenizer of the GGUF file, signed", "swapped template of the weights, signed"),
    *("weights swapped, scores unchanged, all signed anew", "samples and scores edited to match, all signed anew"),
    *("loss of the proof edited, all signed anew", "checkpoint of the proof edited, all signed anew"),
    *("quantized file of another model, signed", "re-signed by a stranger", "revoked release", "revoked key"),
)


def test_every_mutation_is_caught_by_name(capsys):
    assert app(["mutations", "--json"], result_action="return_value") == 0
    found = json.loads(capsys.readouterr().out)["mutations"]
    assert len({row["name"] for row in found}) == len(found) >= 30
    assert [row for row in found if not row["caught"]] == []
    assert all(row["message"] and row["message"] != "verified" for row in found)
    assert {row["name"] for row in found} >= set(NAMED_IN_THE_PLAN)
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"`ayllu release mutations` harms a release in (\d+)\s+ways", readme)
    assert int(stated) == len(found), "README.md counts other ways than there are"


def test_a_verification_that_finds_something_else_catches_nothing(monkeypatch, capsys):
    """A problem that does not name what was done is no proof."""
    chosen = [mutation for mutation in prove.mutations() if mutation.name in ("added code", "removed file")]
    monkeypatch.setattr(prove, "mutations", lambda: iter(chosen))
    monkeypatch.setattr(prove, "_remembered", lambda place, small: iter(()))
    monkeypatch.setattr(prove, "_executed_again", lambda place: iter(()))
    seen: list[str] = []

    def dull(folder, key=None):
        found = verify_release(folder, key)
        seen.append(folder.name)
        if len(seen) > 1:
            object.__setattr__(found, "problems", (Problem(file="README.md", reason="is bad"),))
        return found

    monkeypatch.setattr(prove, "verify_release", dull)
    assert app(["mutations"], result_action="return_value") == 1
    said = capsys.readouterr().out
    assert "MISSED: added code: README.md is bad" in said and "0 of 2 caught by name" in said
