"""The `ayllu eval` commands."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

if TYPE_CHECKING:
    from ayllu.evals.score import DocumentBits
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

app = cyclopts.App(
    name="eval", help="Measure a model: published question sets, held-out text, and differences between models."
)

Flag = Annotated[bool, Parameter(negative="")]


@app.default
def evaluate(
    model: str,
    /,
    *,
    suite: str = "small",
    items: int | None = None,
    text: Path | None = None,
    out: Path | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    json: Flag = False,
) -> int:
    """Measure how often a model finds the right answer likeliest, and how many bits it needs for it.

    Parameters
    ----------
    model
        The name that a recipe gave a model, or a Hugging Face folder of a Llama model with its tokenizer.
    suite
        small (HellaSwag, PIQA and ARC-Easy, 1,000 items of each), full (ten sets, all items), a set's name, or none.
    items
        How many items of each set, instead of the suite's own number.
    text
        Also measure held-out bits per byte on this file: JSONL with `text` and, if wanted, `source` on each line, or
        plain text, one document.
    out
        Keep scores.json and the outcome of every item and document in this folder.
    dtype
        What the model computes in; bfloat16 is about twice as fast on CPUs that have it.
    json
        Print one JSON object.
    """
    from ayllu.evals.score import Scores
    from ayllu.evals.suite import load_suite
    from ayllu.evals.table import describe_power, scores_table
    from ayllu.lab import progress
    from ayllu.lab.error import UserError

    if suite == "none" and text is None:
        raise UserError("there is nothing to measure: give a suite or a file with --text")
    texts = list(_texts(text)) if text is not None else []
    transformer, tokenizer = _load(model)
    chosen = load_suite(suite, items_per_set=items) if suite != "none" else None
    scores = Scores(about={"dtype": dtype})
    if chosen is not None:
        import torch

        from ayllu.evals.likelihood.multiple_choice import evaluate_suite

        progress.say(describe_power(chosen))
        scores = evaluate_suite(transformer, tokenizer, chosen, dtype=getattr(torch, dtype), folder=out)
    if texts:
        scores = scores.with_documents(_documents(transformer, tokenizer, texts, dtype))
    if out is not None:
        scores.save(out)
    figures = scores.as_json()
    _print(figures, json, scores_table)
    return 0


@app.command
def compare(first: Path, second: Path, /, *, json: Flag = False) -> int:
    """Compare two models by the folders that `ayllu eval --out` wrote: paired differences, second minus first.

    Parameters
    ----------
    first
        Folder with the first model's scores.
    second
        Folder with the second model's scores, measured on the same items.
    json
        Print one JSON object.
    """
    from ayllu.evals.compare import compare_scores
    from ayllu.evals.recompute import recompute
    from ayllu.evals.table import comparison_table

    _print(compare_scores(recompute(first), recompute(second)), json, comparison_table)
    return 0


@app.command
def check(folder: Path, /, *, json: Flag = False) -> int:
    """Compute every score in a folder again from the outcomes of its items and documents.

    Parameters
    ----------
    folder
        A folder that `ayllu eval --out` wrote.
    json
        Print one JSON object.
    """
    from ayllu.evals.recompute import discrepancies

    found = discrepancies(folder)
    _print({"sound": not found, "discrepancies": found}, json, _verdict)
    return 1 if found else 0


def _load(name: str) -> tuple[Transformer, Tokenizer]:
    from ayllu.lab.channel import find_model
    from ayllu.lab.error import UserError
    from ayllu.lab.store import default_home
    from ayllu.model.files import hf
    from ayllu.text.tokenizer import Tokenizer

    folder = find_model(name, default_home())
    try:
        tokenizer = Tokenizer.load(folder)
        return hf.load(folder), tokenizer
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} holds no model that can be read ({error}): give a Hugging Face folder of a Llama model"
        ) from error


def _documents(
    model: Transformer, tokenizer: Tokenizer, texts: list[tuple[str, str]], dtype: str
) -> list[DocumentBits]:
    import torch

    from ayllu.evals.likelihood.heldout import document_bits

    return list(document_bits(model, tokenizer, texts, dtype=getattr(torch, dtype), total=len(texts)))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """(source, text) pairs of a JSONL or text file; the file's name stands in for a missing source."""
    from ayllu.lab.error import UserError

    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error}): convert it first") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file of text or JSONL") from error
    if path.suffix != ".jsonl":
        yield path.stem, content
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json_module.loads(line)
            yield str(row.get("source", path.stem)), str(row["text"])
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(f'{path} line {number} is no JSON object with a "text": correct or remove it') from error


def _verdict(value: dict[str, Any]) -> str:
    lines = value["discrepancies"] or ["Every score follows from the outcomes of its items and documents."]
    return "".join(f"{line}\n" for line in lines)


def _print(value: dict[str, Any], json: bool, render: Any) -> None:
    sys.stdout.write(json_module.dumps(value, indent=2, ensure_ascii=False) + "\n" if json else render(value))
