"""Subjects that take the items: weights, programs and a server; kept answers; figures that follow from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from ayllu.evals.profile.answers import Answer, judge
from ayllu.evals.profile.figures import profile_figures
from ayllu.evals.profile.item import LEVELS, ProfileItem
from ayllu.evals.profile.measure import measure
from ayllu.evals.profile.rows import make_items
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.choose import program_or_server, weights_subject
from ayllu.evals.profile.subjects.programs import Program, find_program, five_gram
from ayllu.evals.profile.table import profile_table
from ayllu.lab.error import UserError


class Able(Program):
    """Solves what is not harder than `able`, and counts what it is asked."""

    keeps = True

    def __init__(self, able: int, *, most: int = 10**9) -> None:
        self.name, self.able, self.most, self.asked = f"able-{able}", able, most, 0

    def reply(self, item: ProfileItem) -> str:
        return item.answer if item.level <= self.able else ""

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[tuple[int, str | None, str]]:
        for number, reply, refused in super().generate(items):
            self.asked += 1
            if self.asked > self.most:
                raise KeyboardInterrupt
            yield number, reply, refused


def row(profile: dict, name: str, mode: str = "gen") -> dict:
    both = profile["by_mode"][mode]
    return next(entry for entry in [*both["profile"], *both["further"]] if entry["row"] == name)


def test_the_ability_of_a_subject_is_found_on_every_row(tmp_path: Path) -> None:
    profile = run_profile(Able(10), cache=tmp_path, each=1)
    assert [entry["row"] for entry in profile["profile"]][:2] == ["knowledge", "reading_writing"]
    assert len(profile["profile"]) == 10
    for entry in profile["by_mode"]["gen"]["profile"]:
        if entry["measured"] and entry["row"] != "speed":
            assert entry["low"] <= entry["d50"] <= entry["high"]
            assert 9 < entry["d50"] < 13, entry
    assert row(profile, "mathematics")["censored"] == ""
    assert "7 of 10" in profile["level"]
    assert "no level is claimed" in profile_table(profile)


def test_what_is_not_measured_is_said_and_never_a_number(tmp_path: Path) -> None:
    profile = run_profile(Able(10), cache=tmp_path, each=1, rows=["mathematics"])
    for name in ("visual", "auditory", "long_term_storage", "knowledge"):
        entry = row(profile, name)
        assert (entry["measured"], entry["d50"], entry["low"], entry["high"]) == (False, None, None, None)
        assert entry["reason"]
    table = profile_table(profile)
    assert table.count("not measured") == 2 * 13
    assert "a model of text sees no pictures" in table


def test_scores_have_the_promised_shape(tmp_path: Path) -> None:
    profile = run_profile(
        find_program("program:five-gram"), cache=tmp_path, each=1, rows=["learning", "knowing_limits"]
    )
    for score in profile["scores"]:
        assert list(score) == ["name", "value", "low", "high", "n", "mode", "chance"]
    modes = {score["name"]: score["mode"] for score in profile["scores"]}
    assert modes["learning/gold_bits_per_byte"] == "bpb"
    assert {f"learning/examples_{k}" for k in (0, 1, 2, 4, 8, 16)} <= modes.keys()
    assert {"knowing_limits/calibration_error", "knowing_limits/abstains_if_unsaid"} <= modes.keys()
    json.dumps(profile)


def test_a_killed_measurement_goes_on_and_a_finished_one_is_not_asked_again(tmp_path: Path) -> None:
    items = make_items(["mathematics"], each=1)
    killed = Able(10, most=20)
    with pytest.raises(KeyboardInterrupt):
        measure(killed, items, modes=["gen"], cache=tmp_path)
    went_on = Able(10)
    measure(went_on, items, modes=["gen"], cache=tmp_path)
    assert went_on.asked == len(items) - 20
    again = Able(10)
    larger = make_items(["mathematics"], each=2)
    verdicts = measure(again, larger, modes=["gen"], cache=tmp_path)
    assert again.asked == len(items)  # the second item of each level
    assert [verdict.item for verdict in verdicts] == list(larger)


def test_answers_of_a_server_are_not_kept_beyond_the_measurement(tmp_path: Path) -> None:
    subject = Able(10)
    subject.keeps = False
    measure(subject, make_items(["mathematics"], each=1), modes=["gen"], cache=tmp_path)
    assert not list((tmp_path / "evals").iterdir())


def test_time_counts_in_the_row_of_speed_only(tmp_path: Path) -> None:
    items = make_items(["speed", "mathematics"], each=1)
    verdicts = measure(Able(30), items, modes=["gen"], cache=tmp_path)
    for verdict in verdicts:
        assert (verdict.answer.seconds is not None) == (verdict.item.row == "speed")
    (item,) = [item for item in items if item.generator == "copying" and item.level == 2]
    in_time = Answer(id="", digest="", mode="gen", reply=item.answer, seconds=0.9 * item.seconds)
    late = Answer(id="", digest="", mode="gen", reply=item.answer, seconds=1.1 * item.seconds)
    assert judge(item, in_time).solved
    assert not judge(item, late).solved


def test_no_answer_counts_as_wrong_and_widens_what_is_known() -> None:
    items = make_items(["mathematics"], each=2)

    def figures(refused: set[int]) -> dict:
        verdicts = [
            judge(
                item,
                Answer(id="", digest="", mode="gen", reply=None, refused="gone")
                if item.level in refused
                else Answer(id="", digest="", mode="gen", reply=item.answer if item.level <= 8 else ""),
            )
            for item in items
        ]
        return profile_figures(verdicts, headline="gen", about={})

    whole, lacking = row(figures(set()), "mathematics"), row(figures({10, 12, 15}), "mathematics")
    assert (whole["missing"], lacking["missing"]) == (0, 18)
    assert lacking["d50"] == whole["d50"]
    assert lacking["high"] > 14 > whole["high"]
    (score,) = [s for s in figures({10, 12, 15})["scores"] if s["name"] == "mathematics/addition"]
    assert score["high"] - score["low"] > 0.4


def test_the_memory_of_a_subject_is_measured_where_it_has_one(tmp_path: Path) -> None:
    with_notebook = run_profile(find_program("program:lookup"), cache=tmp_path, each=1, rows=["long_term_storage"])
    assert row(with_notebook, "long_term_storage")["censored"] == "above"
    without = run_profile(find_program("program:random"), cache=tmp_path, each=1, rows=["long_term_storage", "habit"])
    assert row(without, "long_term_storage")["measured"] is False


def test_a_calculator_calculates_and_knows_nothing(tmp_path: Path) -> None:
    profile = run_profile(find_program("program:calculator"), cache=tmp_path, each=1, rows=["mathematics", "knowledge"])
    assert row(profile, "mathematics")["censored"] == "above"
    assert row(profile, "knowledge")["censored"] == "below"


def test_five_grams_are_probabilities_and_beaten_by_nothing_but_chance(tmp_path: Path) -> None:
    program = find_program("program:five-gram")
    model = five_gram()
    for context in (b"", b"Answer", b"What is \xc3"):
        assert sum(model.probability(context, byte) for byte in range(256)) == pytest.approx(1)
    assert model.log_likelihood("Answer with the number", " only.") > -10
    profile = run_profile(program, cache=tmp_path, each=1, rows=["mathematics", "working_memory"])
    assert row(profile, "mathematics", "rank")["high"] < 6


def test_weights_take_the_items_and_say_how(model, tokenizer, tmp_path: Path) -> None:
    subject = weights_subject("tiny", model, tokenizer, dtype="float32", chat_template="auto")
    profile = run_profile(subject, cache=tmp_path / "cache", each=1, rows=["knowledge"], folder=tmp_path / "out")
    about = profile["about"]
    assert (about["dtype"], about["chat_template"], about["parameters"]) == ("float32", True, model.config.parameters)
    lines = [json.loads(line) for line in (tmp_path / "out" / "items.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 3 * len(LEVELS)
    assert json.loads((tmp_path / "out" / "profile.json").read_text()) == profile
    # A context of 96 ids is too short for many questions: they have no answer, and say why.
    assert any("do not fit into the context of 96" in line.get("refused", "") for line in lines)


def test_what_is_generated_does_not_hang_on_the_other_items(model, tokenizer) -> None:
    subject = weights_subject("tiny", model, tokenizer, dtype="float32", chat_template="off")
    items = [item for item in make_items(["mathematics"], each=1) if item.level < 6]
    together = {number: reply for number, reply, _ in subject.generate(items)}
    for number in (0, 3, 7):
        ((_, alone, _),) = subject.generate([items[number]])
        assert alone == together[number]
        assert "\n" not in (alone or "")


def test_ranks_are_those_of_the_likelihood_suite(model, tokenizer) -> None:
    from ayllu.evals.likelihood.log_probabilities import segment_log_likelihoods, segments

    subject = weights_subject("tiny", model, tokenizer, dtype="float32", chat_template="off")
    (item,) = [item for item in make_items(["mathematics"], each=1) if item.id == "mathematics/addition/1/0"]
    ((_, likelihoods),) = subject.rank([item])
    for choice, found in zip(item.choices, likelihoods, strict=True):
        given = [tokenizer.bos, *tokenizer.encode(item.plain)]
        ids = [tokenizer.bos, *tokenizer.encode(f"{item.plain} {choice}")]
        cut = segments(ids, len(given), context=model.config.context, stride=8)
        plain = sum(segment_log_likelihoods(model, list(cut), dtype=torch.float32))
        assert found == pytest.approx(plain, abs=1e-4)


def test_who_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="no simple program is called abacus"):
        program_or_server("program:abacus")
    with pytest.raises(UserError, match="cannot be reached"):
        program_or_server("http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="unencrypted"):
        program_or_server("http://example.org/v1", api_key="secret")
    assert program_or_server("cria") is None
