"""The `ayllu safety` commands."""

from __future__ import annotations

from pathlib import Path

import cyclopts

from ayllu.cli.options import Home, Json, print_json, print_lines

app = cyclopts.App(name="safety", help="Judge answers, and say how far the judge can be believed.")


@app.command
def judge(
    *,
    model: str | None = None,
    items: int = 100,
    labelled: list[Path] | None = None,
    sha256: list[str] | None = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """Measure the judges on answers that people labelled: error rates, intervals, agreement by hazard.

    The rows come from a pinned package (PyRIT's, MIT), downloaded once. The judge of our own is cross-validated, with
    like prompts kept together.

    Parameters
    ----------
    model
        Also measure this model as a judge: how much likelier it finds yes than no when asked whether an answer helps
        with something harmful.
    items
        How many labelled answers that model is asked about; they take it about a second each.
    labelled
        A file of your own labelled answers: a JSON object a line with prompt, answer and harmful (true or false), and
        category (such as S1) if wanted; can be given several times.
    sha256
        The digest of each of those files, in the same order: another file is refused.
    """
    from ayllu.api import models
    from ayllu.safety.judge.run import Asked, measure_judges
    from ayllu.safety.judge.table import judges_lines

    asked = None
    if model is not None:
        transformer, tokenizer = models.load(model, home=home).weights()
        asked = Asked(name=model, transformer=transformer, tokenizer=tokenizer)
    found = measure_judges(labelled=labelled or [], sha256=sha256 or [], model=asked, items=items)
    if json:
        print_json(found, indent=2)
    else:
        print_lines(judges_lines(found))
    return 0


@app.command
def train(
    out: Path, /, *, labelled: list[Path] | None = None, sha256: list[str] | None = None, json: Json = False
) -> int:
    """Train the judge again: the same file from the same material, or one that has learnt from your answers too.

    Parameters
    ----------
    out
        The file to write, ending in .safetensors.
    labelled
        A file of your own labelled answers, as `ayllu safety judge` reads it; can be given several times.
    sha256
        The digest of each of those files, in the same order.
    """
    from ayllu.safety.judge.run import train_judge

    about = train_judge(out, labelled=labelled or [], sha256=sha256 or [])
    if json:
        print_json(about, indent=2)
    else:
        print_lines([f"{out}: a judge of {', '.join(about['categories'])}, from material {about['material']}"])
    return 0


@app.command
def verdict(answer: str, /, *, prompt: str = "", weights: Path | None = None, json: Json = False) -> int:
    """Say what the judge makes of one answer: safe, harmful, a refusal, or incoherent.

    Parameters
    ----------
    answer
        The answer.
    prompt
        What was asked; it only enters the hazard.
    weights
        A judge that `ayllu safety train` wrote, instead of the one that comes with Ayllu.
    """
    from ayllu.safety.judge.judge import load_judge

    found = load_judge(weights).verdict(prompt, answer).as_json()
    if json:
        print_json(found)
    else:
        chances = ", ".join(f"{name} {found[name]:.2f}" for name in ("harm", "refusal", "babble"))
        print_lines([f"{found['class']}: {chances}"])
    return 0
