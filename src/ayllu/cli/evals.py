"""The `ayllu eval` commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cyclopts

from ayllu import api
from ayllu.cli.options import Home, Json, print_json, print_lines
from ayllu.lab.visible import visible

app = cyclopts.App(
    name="eval", help="Measure a model: published question sets, held-out text, and differences between models."
)


@app.default
def evaluate(
    model: str,
    /,
    *,
    suite: str = "small",
    items: int | None = None,
    text: Path | None = None,
    out: Path | None = None,
    policy: Path | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    first_token: Literal["bos", "none"] = "bos",
    home: Home = None,
    json: Json = False,
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
        Also measure held-out bits per byte on this file or folder, read as `folder:PATH` is in a run: each record with
        a `text` and, if wanted, a `source` is a document, and so is a plain file.
    out
        Keep scores.json and the outcome of every item and document in this folder.
    policy
        Rules of a release, signed by `ayllu release policy`: the scores keep that they were measured under them.
    dtype
        What the model computes in; bfloat16 is about twice as fast on CPUs that have it.
    first_token
        What the items of a suite begin with: bos, the model's own, as it began documents in training; or none, as
        lm-eval has it by default. The scores say which; held-out text always begins with bos.
    """
    from ayllu.evals.table import scores_table

    chosen = None if suite == "none" else suite
    scores = api.evaluate(model, suite=chosen, items=items, text=text, out=out, policy=policy, dtype=dtype, home=home)
    _print(scores.as_json(), json, scores_table)
    return 0


@app.command
def compare(first: Path, second: Path, /, *, json: Json = False) -> int:
    """Compare two models by the folders that `ayllu eval --out` wrote: paired differences, second minus first.

    Parameters
    ----------
    first
        Folder with the first model's scores.
    second
        Folder with the second model's scores, measured on the same items.
    """
    from ayllu.evals.compare import compare_scores
    from ayllu.evals.recompute import recompute
    from ayllu.evals.table import comparison_table

    _print(compare_scores(recompute(first), recompute(second)), json, comparison_table)
    return 0


@app.command
def check(folder: Path, /, *, json: Json = False) -> int:
    """Compute every score in a folder again from the outcomes of its items and documents.

    Parameters
    ----------
    folder
        A folder that `ayllu eval --out` wrote.
    """
    from ayllu.evals.recompute import discrepancies

    found = discrepancies(folder)
    _print({"sound": not found, "discrepancies": found}, json, _verdict)
    return 1 if found else 0


def _verdict(value: dict[str, Any]) -> str:
    lines = value["discrepancies"] or ["Every score follows from the outcomes of its items and documents."]
    return "".join(f"{visible(line)}\n" for line in lines)


def _print(value: dict[str, Any], json: bool, table: Callable[[dict[str, Any]], str]) -> None:
    if json:
        print_json(value, indent=2)
    else:
        print_lines(table(value).removesuffix("\n").split("\n"))
