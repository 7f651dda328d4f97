"""lm-eval's files of samples beside scores of ours, in the shape that lm-eval 0.4.13 writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.cli.evals import app
from ayllu.evals.harness.results import read_results
from ayllu.evals.score import Scores
from ayllu.evals.standard.answers import answer_to
from ayllu.evals.standard.choices import ranked
from ayllu.evals.standard.evaluate import outcome_of
from ayllu.evals.standard.table import TASKS
from ayllu.evals.standard.task import Prompt
from ayllu.lab.error import UserError

PROMPTS = [
    Prompt(id=f"piqa/{number}", task="piqa", asked=ranked(f"q{number}é", ("a", "b"), number % 2), row={})
    for number in range(4)
]


def ours() -> Scores:
    answers = [answer_to(TASKS["piqa"], p, log_likelihoods=(-1.0, -2.0), tokens=(1, 1)) for p in PROMPTS]
    outcomes = tuple(outcome_of(prompt, answer) for prompt, answer in zip(PROMPTS, answers, strict=True))
    return Scores(outcomes=outcomes, about={"first_token": {"kind": "tokenizer", "ids": []}})


def sample(prompt: Prompt, number: int, likelihoods: tuple[float, ...]) -> dict:
    arguments = {
        f"gen_args_{i}": {"arg_0": given, "arg_1": scored} for i, (given, scored) in enumerate(prompt.asked.pairs)
    }
    return {
        "doc_id": number,
        "doc": {},
        "target": "0",
        "arguments": arguments,
        "resps": [[[str(value), "False"]] for value in likelihoods],
        "filtered_resps": [[str(value), "False"] for value in likelihoods],
        "filter": "none",
        "metrics": ["acc"],
        "acc": 1.0,
    }


def write(folder: Path, lines: list[dict]) -> Path:
    folder.mkdir()
    (folder / "samples_piqa_2026-11-28T21-00-00.000000.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    return folder


def test_items_are_matched_by_their_texts_and_compared_in_pairs(tmp_path, capsys):
    ours().save(tmp_path / "ours")
    # In another order, and right where the second choice is.
    lines = [sample(p, 3 - n, (-2.0, -1.0)) for n, p in reversed(list(enumerate(PROMPTS)))]
    theirs = write(tmp_path / "theirs", lines)
    app(["compare", str(tmp_path / "ours"), str(theirs), "--json"], exit_on_error=False, result_action="return_value")
    found = json.loads(capsys.readouterr().out)["sets"]["piqa"]["accuracy"]
    assert (found["only_first"], found["only_second"], found["value"]) == (2, 2, 0.0)
    read = read_results(theirs, ours())
    assert {outcome.id for outcome in read.outcomes} == {prompt.id for prompt in PROMPTS}


def test_other_items_are_refused(tmp_path, capsys):
    ours().save(tmp_path / "ours")
    other = Prompt(id="x", task="piqa", asked=ranked("another", ("a", "b"), 0), row={})
    theirs = write(tmp_path / "theirs", [sample(p, n, (-1.0, -2.0)) for n, p in enumerate([*PROMPTS, other])])
    with pytest.raises(UserError, match="cannot be compared"):
        app(["compare", str(tmp_path / "ours"), str(theirs)], exit_on_error=False, result_action="return_value")


def test_what_is_no_sample_is_named(tmp_path):
    theirs = write(tmp_path / "theirs", [{"doc_id": 0}])
    with pytest.raises(UserError, match="line 1 is no sample of lm-eval's"):
        read_results(theirs, ours())
    cut = sample(PROMPTS[0], 0, (-1.0,))
    for number, odd in enumerate(
        (cut, {**cut, "arguments": {"gen_args_0": ["q", "a"]}}, {**cut, "resps": [["x"]] * 2})
    ):
        with pytest.raises(UserError, match="line 1 is no sample of lm-eval's"):
            read_results(write(tmp_path / f"odd-{number}", [odd]), ours())
    lines = [sample(PROMPTS[0], 0, (-1.0, -2.0)), sample(PROMPTS[0], 0, (-1.0, -3.0))]
    (tmp_path / "two").mkdir()
    with pytest.raises(UserError, match="two answers to piqa/0"):
        read_results(write(tmp_path / "twice", lines), ours())
