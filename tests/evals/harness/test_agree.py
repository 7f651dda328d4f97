"""What counts as a difference between our answers and lm-eval's."""

from __future__ import annotations

import pytest

from ayllu.evals.harness.agree import Part, Side, agree, compared, prompts_differ
from ayllu.evals.harness.table import agreement_table
from ayllu.evals.standard.answers import Answer
from ayllu.evals.standard.choices import ranked
from ayllu.evals.standard.rows import open_reader
from ayllu.evals.standard.table import TASKS
from ayllu.evals.standard.task import Prompt
from ayllu.lab.error import UserError

PROMPT = Prompt(id="piqa/0", task="piqa", asked=ranked("q", ("a", "b"), 0), row={})
PART = Part(yaml="", rows=(("piqa/0", {}),), prompts=(PROMPT,))


def side(likelihoods, *, acc=1.0, digest=PROMPT.digest):
    answer = Answer(
        id="piqa/0", task="piqa", digest=digest, mode="rank", log_likelihoods=likelihoods, values={"acc": acc}
    )
    return Side(answers={"piqa/0": answer}, seconds=2.0, cpu=1.0)


def entry(ours, theirs, dtype="float32"):
    return compared(TASKS["piqa"], [PART], ours, theirs, None, dtype)


def test_equal_answers_agree_and_their_difference_is_told():
    found = entry(side((-1.0, -2.0)), side((-1.0005, -2.0)))
    assert found["agrees"]
    assert found["largest_log_likelihood_difference"] == pytest.approx(0.0005)
    assert found["items_per_second"] == 0.5
    assert "yes" in agreement_table({"tasks": [found], "with": "lm-eval", "dtype": "float32"})


@pytest.mark.parametrize(
    ("theirs", "key"),
    [
        (side((-1.01, -2.0)), None),
        (side((-2.0, -1.9995)), "choices_that_differ"),
        (side((-1.0, -2.0), acc=0.0), "values_that_differ"),
        (side((-1.0, -2.0), digest=""), "prompts_that_differ"),
    ],
)
def test_each_kind_of_difference_is_found(theirs, key):
    found = entry(side((-1.0, -2.0)), theirs)
    assert not found["agrees"]
    assert key is None or found[key] == 1


def test_sums_that_lm_eval_rounded_are_compared_as_float64_gives_them_and_it_is_told():
    ours, theirs = side((-1.0, -2.0)), side((-1.0015, -2.0))
    found = compared(TASKS["piqa"], [PART], ours, theirs, None, "float32", side((-1.0002, -2.0)))
    assert found["agrees"] and found["items_rounded"] == 1
    assert found["largest_log_likelihood_difference"] == pytest.approx(0.0002)
    assert found["largest_difference_as_rounded"] == pytest.approx(0.0015)
    table = agreement_table({"tasks": [found], "with": "lm-eval", "dtype": "float32"})
    assert "piqa: 1 items were up to 1.5e-03 apart until lm-eval added up" in table


def test_what_float64_does_not_explain_stays_a_difference():
    found = compared(
        TASKS["piqa"], [PART], side((-1.0, -2.0)), side((-1.0015, -2.0)), None, "float32", side((-1.0014, -2.0))
    )
    assert not found["agrees"]
    assert found["largest_log_likelihood_difference"] == pytest.approx(0.0014)


def test_an_item_that_was_near_keeps_what_lm_eval_said_at_first():
    found = compared(
        TASKS["piqa"], [PART], side((-1.0, -2.0)), side((-1.0005, -2.0)), None, "float32", side((-1.0, -2.0))
    )
    assert found["items_rounded"] == 0
    assert found["largest_log_likelihood_difference"] == pytest.approx(0.0005)


def test_in_bfloat16_only_choices_and_values_must_agree():
    assert entry(side((-1.0, -2.0)), side((-1.01, -2.0)), "bfloat16")["agrees"]


def test_a_space_more_in_a_prompt_is_a_difference():
    assert not prompts_differ(PROMPT, [["q", " a"], ["q", " b"]])
    assert prompts_differ(PROMPT, [["q", "  a"], ["q", " b"]])


def test_what_lm_eval_lacks_is_refused_by_name():
    with pytest.raises(UserError, match="lm-eval has no task csqa:mc"):
        agree(None, None, None, [TASKS["csqa:mc"]], open_reader(), items=1)  # type: ignore[arg-type]
