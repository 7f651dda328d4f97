"""From outcomes to scores, to files, and back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.evals.recompute import discrepancies, recompute
from ayllu.evals.score import Outcome
from ayllu.lab.error import UserError
from support.scores import outcome, scores


def test_accuracies_and_bits_by_hand():
    entry = scores().as_json()["sets"]["hellaswag"]
    assert entry["items"] == 4 and entry["missing"] == 0
    assert entry["accuracy"]["value"] == 0.75
    assert entry["accuracy_norm"]["value"] == 0.5
    assert entry["accuracy"]["chance"] == 0.5
    # All tokens alike, the fewest tokens win: items 0 and 2. For a byte, 5/20 of item 1 beats 4/5 too.
    assert entry["accuracy"]["uniform"] == 0.5
    assert entry["accuracy_norm"]["uniform"] == 0.75
    assert entry["headline"] == "accuracy_norm"
    assert entry["licence"] == "MIT"
    assert entry["trained_on"] == ["web"]
    nats_per_byte = (10 / 5 + 20 / 20 + 3 / 6 + 8 / 8) / 4
    assert entry["gold_bits_per_byte"]["value"] == pytest.approx(nats_per_byte / math.log(2))


def test_overlap_gives_share_and_clean_scores():
    overlap = scores().as_json()["sets"]["hellaswag"]["overlap"]
    assert (overlap["checked"], overlap["overlapping"], overlap["share"]) == (3, 1, pytest.approx(1 / 3))
    assert overlap["clean"]["items"] == 3
    assert overlap["clean"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_bits_per_byte_are_totals_over_totals():
    sources = scores().as_json()["bits_per_byte"]
    assert sources["books"]["value"] == 1.5
    assert sources["books"]["low"] == pytest.approx(1.5) == sources["books"]["high"]
    assert sources["letters"] == {"value": 0.9, "low": None, "high": None, "documents": 1, "bytes": 100}


def test_what_is_saved_is_computed_again_to_the_same(tmp_path):
    scores().save(tmp_path)
    again = recompute(tmp_path)
    assert again.as_json() == scores().as_json() == json.loads((tmp_path / "scores.json").read_text())
    assert again.outcomes == scores().outcomes
    assert discrepancies(tmp_path) == []
    line = json.loads((tmp_path / "items.jsonl").read_text().splitlines()[0])
    assert (line["correct"], line["correct_norm"]) == (True, False)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=5), st.integers(0, 4))
def test_an_outcome_survives_its_line(log_likelihoods, gold):
    made = outcome(7, log_likelihoods, [3] * len(log_likelihoods), gold=gold % len(log_likelihoods))
    line = json.dumps(made.as_json(), allow_nan=False)
    read = Outcome.from_json(json.loads(line))
    assert read.as_json() == made.as_json()
    assert (read.answered, read.correct) == (made.answered, made.correct)


@pytest.mark.parametrize(
    ("file", "before", "after", "says"),
    [
        ("scores.json", '"value": 0.75', '"value": 0.76', "/sets/hellaswag/accuracy/value says 0.76"),
        ("scores.json", '"items": 4', '"items": 5', "/sets/hellaswag/items says 5"),
        ("items.jsonl", "-20.0, -10.0", "-5.0, -10.0", "/sets/hellaswag/accuracy/value says 0.75"),
        ("items.jsonl", '"correct": true', '"correct": false', "hellaswag/0 says correct False"),
        ("items.jsonl", "0000000000000002", "0000000000000003", "items_digest"),
        ("documents.jsonl", '"bits": 300.0', '"bits": 290.0', "/bits_per_byte/books/value says 1.5"),
    ],
)
def test_a_changed_file_is_found_out(tmp_path, file, before, after, says):
    scores().save(tmp_path)
    text = (tmp_path / file).read_text()
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1))
    assert says in "\n".join(discrepancies(tmp_path))


def test_damaged_and_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"scores\.json is missing"):
        recompute(tmp_path)
    scores().save(tmp_path)
    (tmp_path / "items.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(UserError, match=r"items\.jsonl line 1 is damaged"):
        recompute(tmp_path)
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(UserError, match="not a file of scores"):
        recompute(tmp_path)


def test_no_half_written_file_stays(tmp_path):
    (tmp_path / "scores.json").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        scores().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents.jsonl", "items.jsonl", "scores.json"]
