"""Standard sets that are ranked choices, or one continuation: how lm-evaluation-harness 0.4.13 asks them.

Each function follows one file of lm_eval/tasks, to the space: `ayllu eval agree` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import Asked, Row, Shots, Task

LETTERS = ("A", "B", "C", "D", "E")


def ranked(context: str | Sequence[str], choices: Sequence[str], gold: int, *, between: str = " ") -> Asked:
    """Choices behind one context, or each behind its own."""
    contexts = [context] * len(choices) if isinstance(context, str) else context
    return Asked(
        pairs=tuple((given, between + choice) for given, choice in zip(contexts, choices, strict=True)),
        gold=gold,
        sizes=tuple(len(choice) for choice in choices),
        bytes=tuple(len(choice.encode()) for choice in choices),
    )


def unmarked(text: str) -> str:
    """WikiHow's marks taken out, as `preprocess` in hellaswag/utils.py does it."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def hellaswag(row: Row) -> Asked:
    """The activity, a colon, and the scene so far; the choices are ends of it."""
    scene = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return ranked(unmarked(scene), [unmarked(ending) for ending in row["endings"]], int(row["label"]))


def piqa(row: Row) -> Asked:
    """A goal and two ways to it."""
    return ranked(f"Question: {row['goal']}\nAnswer:", (row["sol1"], row["sol2"]), int(row["label"]))


def arc(row: Row) -> Asked:
    """A question of a science examination, in cloze form."""
    gold = row["choices"]["label"].index(row["answerKey"])
    return ranked(f"Question: {row['question']}\nAnswer:", row["choices"]["text"], gold)


def openbookqa(row: Row) -> Asked:
    """The bare question: lm-eval frames it with nothing."""
    gold = row["choices"]["label"].index(row["answerKey"].lstrip())
    return ranked(row["question_stem"], row["choices"]["text"], gold)


def winogrande(row: Row) -> Asked:
    """Each name put in; only what follows it is scored."""
    at = row["sentence"].index("_")
    after = row["sentence"][at + 1 :].strip()
    contexts = [row["sentence"][:at] + row[option] for option in ("option1", "option2")]
    asked = ranked(contexts, (after, after), int(row["answer"]) - 1)
    # lm-eval's lengths are those of the sentences up to the blank, which its choices are.
    return Asked(
        pairs=asked.pairs,
        gold=asked.gold,
        sizes=tuple(len(context) for context in contexts),
        bytes=tuple(len(context.encode()) for context in contexts),
    )


def boolq(row: Row) -> Asked:
    """A passage and a question that yes or no answers."""
    return ranked(f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", ("no", "yes"), int(row["label"]))


def social_iqa(row: Row) -> Asked:
    """A situation and a question about it."""
    choices = (row["answerA"], row["answerB"], row["answerC"])
    return ranked(f"Q: {row['context']} {row['question']}\nA:", choices, int(row["label"]) - 1)


def commonsense_qa(row: Row) -> Asked:
    """The choices are listed, and a letter is asked for."""
    texts = row["choices"]["text"]
    listed = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, texts, strict=True))
    context = f"Question: {row['question'].strip()}\n{listed}Answer:"
    return ranked(context, LETTERS, LETTERS.index(row["answerKey"]))


def mmlu(row: Row) -> Asked:
    """The choices are listed, and a letter is asked for."""
    return ranked(_mmlu_question(row), LETTERS[:4], int(row["answer"]))


def mmlu_continuation(row: Row) -> Asked:
    """The cloze form of MMLU: the model sees no list of choices."""
    return ranked(f"Question: {row['question'].strip()}\nAnswer:", row["choices"], int(row["answer"]))


def _mmlu_question(row: Row) -> str:
    listed = "".join(f"{letter}. {text}\n" for letter, text in zip(LETTERS, row["choices"], strict=False))
    return f"{row['question'].strip()}\n{listed}Answer:"


def mmlu_head(row: Row) -> str:
    """lm-eval's description of a subject."""
    return f"The following are multiple choice questions (with answers) about {_subject(row)}.\n\n"


def cloze_head(row: Row) -> str:
    """The same for the cloze form."""
    return f"The following are questions (with answers) about {_subject(row)}.\n\n"


def _subject(row: Row) -> str:
    return str(row["subject"]).replace("_", " ")


def mmlu_dev(reader: Reader, row: Row) -> Sequence[Row]:
    """The five examples of a subject."""
    return reader.arrow(f"hails/mmlu_no_train/{row['subject']}/dev/data-*.arrow")


MMLU_SHOTS = Shots(number=0, examples=mmlu_dev, write=lambda row: f"{_mmlu_question(row)} {LETTERS[row['answer']]}")
CLOZE_SHOTS = Shots(
    number=0,
    examples=mmlu_dev,
    write=lambda row: f"Question: {row['question'].strip()}\nAnswer: {row['choices'][row['answer']]}",
)


def lambada(row: Row) -> Asked:
    """The last word of a passage."""
    before, _, last = row["text"].rpartition(" ")
    return Asked(pairs=((before, f" {last}"),))


def blimp(row: Row) -> Asked:
    """Two sentences that differ in one thing; the first is grammatical."""
    return ranked("", (row["sentence_good"], row["sentence_bad"]), 0)


def requested(row: Row) -> Asked:
    """Prompt and continuations as OLMES (Gu et al. 2024, arXiv:2406.08446) made them, from the archive."""
    requests = row["_requests"]
    choices = [request["continuation"] for request in requests]
    contexts = [request["context"] for request in requests]
    asked = ranked(contexts, choices, int(row["_gold"]), between="")
    # The norm is by the choice without the space before it.
    return Asked(
        pairs=asked.pairs,
        gold=asked.gold,
        sizes=tuple(len(choice.removeprefix(" ")) for choice in choices),
        bytes=tuple(len(choice.removeprefix(" ").encode()) for choice in choices),
    )


def plain_request(row: Row) -> str:
    """The question without its examples, and its right answer."""
    request = row["_requests"][row["_gold"]]
    return f"{request['context'].rpartition(chr(10) * 2)[2]}{request['continuation']}"


def answered(question: str, choices: str = "choices", gold: str = "gold") -> Any:
    """Question and right answer as running text, for rows that hold them under these names."""

    def plain(row: Row) -> str:
        held = row[choices]
        texts = held["text"] if isinstance(held, dict) else held
        number = row["choices"]["label"].index(row["answerKey"]) if "answerKey" in row else int(row[gold])
        return f"{str(row[question]).strip()} {texts[number].strip()}"

    return plain


def arc_row(doc: Row) -> Row:
    """ARC's own fields from the archive's, which hold the question in its frame."""
    question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    labels = LETTERS[: len(doc["choices"])]
    return {
        "id": doc["id"],
        "question": question,
        "choices": {"text": list(doc["choices"]), "label": list(labels)},
        "answerKey": labels[doc["gold"]],
    }


def openbook_row(doc: Row) -> Row:
    """OpenBookQA's own fields."""
    row = arc_row(doc)
    return {"question_stem": row["question"], **{name: row[name] for name in ("id", "choices", "answerKey")}}


def arrow(pattern: str) -> Any:
    """All rows of Arrow files."""
    return lambda reader: reader.arrow(pattern)


def plain_hellaswag(row: Row) -> str:
    scene = unmarked(f"{row['ctx_a']} {row['ctx_b'].capitalize()}")
    return f"{scene} {unmarked(row['endings'][int(row['label'])])}"


def plain_winogrande(row: Row) -> str:
    return str(row["sentence"]).replace("_", row[f"option{row['answer']}"])


NORMED, PLAIN = ("acc_norm", "acc", "acc_bytes"), ("acc", "acc_norm", "acc_bytes")


def _task(**given: Any) -> Task:
    return Task(**{"mode": "rank", "metrics": NORMED, **given})


CHOICES: tuple[Task, ...] = (
    _task(
        name="hellaswag",
        title="HellaSwag",
        part="validation",
        licence="MIT",
        source="Zellers et al. 2019, arXiv:1905.07830",
        rows=arrow("hellaswag/none/validation/data-*.arrow"),
        items=10_042,
        ask=hellaswag,
        plain=plain_hellaswag,
        harness="hellaswag/hellaswag.yaml",
    ),
    _task(
        name="piqa",
        title="PIQA",
        part="validation",
        licence="AFL-3.0",
        source="Bisk et al. 2019, arXiv:1911.11641",
        rows=arrow("piqa/plain_text/validation/data-*.arrow"),
        items=1_838,
        ask=piqa,
        plain=lambda row: f"{row['goal']} {row['sol1'] if row['label'] == 0 else row['sol2']}",
        harness="piqa/piqa.yaml",
    ),
    *(
        _task(
            name=f"arc_{level}",
            title=f"ARC-{level.capitalize()}",
            part="test",
            licence="CC-BY-SA-4.0",
            source="Clark et al. 2018, arXiv:1803.05457",
            rows=lambda reader, level=level: [arc_row(doc) for doc in reader.docs(f"arc_{level}/test_rc_5shot")],
            items=items,
            ask=arc,
            plain=answered("question"),
            harness=f"arc/arc_{level}.yaml",
        )
        for level, items in (("easy", 2_376), ("challenge", 1_172))
    ),
    _task(
        name="openbookqa",
        title="OpenBookQA",
        part="test",
        licence="Apache-2.0",
        source="Mihaylov et al. 2018, arXiv:1809.02789",
        rows=lambda reader: [openbook_row(doc) for doc in reader.docs("openbookqa/test_rc_5shot")],
        items=500,
        ask=openbookqa,
        plain=answered("question_stem"),
        harness="openbookqa/openbookqa.yaml",
    ),
    _task(
        name="winogrande",
        title="WinoGrande",
        part="validation",
        licence="CC-BY-4.0",
        source="Sakaguchi et al. 2019, arXiv:1907.10641",
        rows=arrow("winogrande/winogrande_xl/validation/data-*.arrow"),
        items=1_267,
        ask=winogrande,
        metrics=("acc",),
        plain=plain_winogrande,
        harness="winogrande/default.yaml",
    ),
    _task(
        name="boolq",
        title="BoolQ",
        part="validation",
        licence="CC-BY-SA-3.0",
        source="Clark et al. 2019, arXiv:1905.10044",
        rows=lambda reader: [
            {**row, "label": int(row["answer"])} for row in reader.arrow("boolq/none/validation/data-*.arrow")
        ],
        items=3_270,
        ask=boolq,
        metrics=PLAIN,
        plain=lambda row: f"{row['passage']} {row['question']}?",
        harness="super_glue/boolq/default.yaml",
    ),
    _task(
        name="social_iqa",
        title="Social IQa",
        part="validation",
        licence="CC-BY-4.0",
        source="Sap et al. 2019, arXiv:1904.09728",
        rows=arrow("social_i_qa/none/validation/data-*.arrow"),
        items=1_954,
        ask=social_iqa,
        metrics=PLAIN,
        plain=lambda row: f"{row['context']} {row['question']} {row['answer' + 'ABC'[int(row['label']) - 1]]}",
        harness="siqa/siqa.yaml",
    ),
    _task(
        name="commonsense_qa",
        title="CommonsenseQA",
        part="validation",
        licence="MIT",
        source="Talmor et al. 2018, arXiv:1811.00937",
        rows=arrow("tau/commonsense_qa/none/validation/data-*.arrow"),
        items=1_221,
        ask=commonsense_qa,
        metrics=("acc",),
        plain=answered("question"),
        harness="commonsense_qa/default.yaml",
    ),
    _task(
        name="mmlu",
        title="MMLU",
        part="test, 57 subjects",
        licence="MIT",
        source="Hendrycks et al. 2020, arXiv:2009.03300",
        rows=arrow("hails/mmlu_no_train/*/test/data-*.arrow"),
        items=14_042,
        ask=mmlu,
        metrics=("acc",),
        plain=answered("question", gold="answer"),
        head=mmlu_head,
        shots=MMLU_SHOTS,
        cluster="subject",
        harness="mmlu/default/mmlu_{subject}.yaml",
    ),
    _task(
        name="mmlu_continuation",
        title="MMLU, cloze form",
        part="test, 57 subjects",
        licence="MIT",
        source="Hendrycks et al. 2020, arXiv:2009.03300",
        rows=arrow("hails/mmlu_no_train/*/test/data-*.arrow"),
        items=14_042,
        ask=mmlu_continuation,
        metrics=PLAIN,
        plain=answered("question", gold="answer"),
        head=cloze_head,
        shots=CLOZE_SHOTS,
        cluster="subject",
        harness="mmlu/continuation/mmlu_{subject}.yaml",
    ),
    _task(
        name="lambada_openai",
        title="LAMBADA",
        part="test, in OpenAI's spelling",
        licence="CC-BY-4.0",
        source="Paperno et al. 2016, arXiv:1606.06031",
        mode="likelihood",
        rows=lambda reader: [
            {"text": f"{doc['query']} {doc['choices'][0]}"} for doc in reader.docs("lambada/bpb_0shot")
        ],
        items=5_153,
        ask=lambada,
        metrics=("acc", "perplexity"),
        plain=lambda row: str(row["text"]),
        harness="lambada/lambada_openai.yaml",
    ),
    _task(
        name="blimp",
        title="BLiMP",
        part="67 phenomena",
        licence="CC-BY-4.0",
        source="Warstadt et al. 2019, arXiv:1912.00582",
        rows=lambda reader: reader.zipped("blimp.zip"),
        items=67_000,
        ask=blimp,
        metrics=("acc",),
        plain=lambda row: str(row["sentence_good"]),
        cluster="UID",
        needs=("blimp.zip",),
        harness="blimp/{UID}.yaml",
    ),
)
