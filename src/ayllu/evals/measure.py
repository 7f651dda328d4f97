"""A suite by name, measured: the small one, a set of others, or standard sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ayllu.evals.dtype import Dtype, check_dtype, torch_dtype
from ayllu.evals.likelihood.sets import OTHERS
from ayllu.evals.score import Scores
from ayllu.lab.error import UserError
from ayllu.lab.progress import say

if TYPE_CHECKING:
    from ayllu.evals.standard.respondent import Respondent
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

FIRST_TOKENS = ("bos", "none", "tokenizer")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a suite is put to a model."""

    items: int | None = None
    """Of each set; None: as many as the suite has."""
    shots: int | None = None
    """Solved examples before each question; None: the set's own number."""
    dtype: Dtype = "float32"
    first_token: Literal["bos", "none", "tokenizer"] | None = None
    """What items begin with; None: BOS in `small`, and what the tokenizer itself puts there in standard sets."""
    chat_template: Literal["auto", "on", "off"] = "auto"
    """Whether standard sets are put in the model's chat format; auto: text written by a server's model alone."""
    data: tuple[Path, ...] = ()
    """Files with sets that no registry has, and folders that hold them."""


def is_standard(suite: str) -> bool:
    """Whether a suite is made of standard sets, and not `small` or a set of others."""
    return suite != "small" and suite not in OTHERS.names()


def check_manner(suite: str | None, manner: Manner) -> None:
    """Raise UserError for what cannot be, before anything is loaded."""
    check_dtype(manner.dtype)
    if manner.first_token is not None and manner.first_token not in FIRST_TOKENS:
        raise UserError(f"first_token is {manner.first_token!r}; choose from {', '.join(FIRST_TOKENS)}")
    if manner.items is not None and manner.items < 1:
        raise UserError(f"a suite of {manner.items} items a set measures nothing: ask for at least 1")
    if manner.shots is not None and manner.shots < 0:
        raise UserError(f"{manner.shots} examples before a question cannot be: ask for 0 or more")
    if suite is None and (manner.items is not None or manner.first_token is not None or manner.data):
        raise UserError("items, first_token and data are of a suite, and none is measured: leave them out")
    standard = suite is not None and is_standard(suite)
    if manner.shots is not None and not standard:
        raise UserError("--shots is for standard sets: leave it out")
    if manner.chat_template not in ("auto", "on", "off"):
        raise UserError(f"the chat template is {manner.chat_template!r}; choose auto, on or off")
    if manner.chat_template != "auto" and not standard:
        raise UserError("the chat template is for standard sets and the profile: leave it out")
    if manner.chat_template == "on" and manner.first_token is not None:
        raise UserError("a chat template puts its own first token: leave --first-token out")
    if manner.first_token == "tokenizer" and not standard:
        raise UserError("first_token tokenizer is for standard sets: choose bos or none")


def measure_suite(
    model: Transformer,
    tokenizer: Tokenizer,
    suite: str,
    manner: Manner,
    *,
    about: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    penalty: float = 1.0,
) -> Scores:
    """The scores of a model on a suite. UserError for an unknown one, and for data that cannot be had.

    `penalty` is the repetition penalty that the model itself states, for generated text.
    """
    dtype = torch_dtype(manner.dtype)
    if is_standard(suite):
        from ayllu.evals.standard.respondent import WeightsRespondent

        beginning = manner.first_token or "tokenizer"
        chat = manner.chat_template == "on"
        respondent = WeightsRespondent(model, tokenizer, dtype=dtype, beginning=beginning, penalty=penalty, chat=chat)
        return measure_standard(respondent, suite, manner, about=about)
    from ayllu.evals.likelihood.multiple_choice import FirstToken, evaluate_suite
    from ayllu.evals.suite import load_suite
    from ayllu.evals.table import describe_power

    chosen = load_suite(suite, items_per_set=manner.items)
    say(*describe_power(chosen).split("\n"))
    first: FirstToken = "none" if manner.first_token == "none" else "bos"
    return evaluate_suite(model, tokenizer, chosen, dtype=dtype, about=about, folder=folder, first_token=first)


def measure_standard(
    respondent: Respondent, suite: str, manner: Manner, *, about: Mapping[str, Any] | None = None
) -> Scores:
    """The scores of weights or of a server on standard sets. UserError for unknown sets, and a server that is gone."""
    from ayllu.evals.standard.evaluate import evaluate_tasks
    from ayllu.evals.standard.rows import open_reader
    from ayllu.evals.standard.table import ABSENT, SUITES, find_tasks

    scores = evaluate_tasks(
        respondent,
        find_tasks(suite),
        open_reader(manner.data),
        items=manner.items,
        shots=manner.shots,
        about={"suite": suite, **(about or {})},
    )
    absent = ABSENT if any(name in SUITES for name in suite.split(",")) else {}
    return replace(scores, not_measured={**scores.not_measured, **absent})
