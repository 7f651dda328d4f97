"""Experiments as files: a question, what is predicted of it, the two arms that decide it, and what came.

A file `experiments/0001_name.py` sets `EXPERIMENT`; running it writes `RESULT` below, with the digest of what was
asked, so that a question or a threshold that is changed afterwards shows.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.lab.run import Place, processor, run_of_many
from ayllu.lab.shelf.jobs import FINISHED, RUNNING, now
from ayllu.lab.store import write_atomically
from ayllu.lab.visible import visible
from ayllu.recipes.registry import RECIPES
from ayllu.recipes.sweeping.sweep import spread
from ayllu.recipes.sweeping.trial import run_trial, trial

FOLDER = "experiments"
HELD, REFUTED, OPEN = "held", "refuted", "open"
LONGEST = 121
"""Characters of a line with its end, as this project's formatter has it."""
MARK = "\n# Written by `ayllu experiment run`.\n"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is expected of the second arm's bits per byte minus the first's, mean over seeds."""

    below: float
    """The threshold: the difference will be below it. Less is better, so -0.01 predicts a gain of 0.01."""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question that two arms of one recipe decide, each trained with the same seeds."""

    question: str
    prediction: Prediction
    arms: Mapping[str, Mapping[str, Any]]
    """Two names and the options of each: what is there already first, then what is tried."""
    recipe: str = "cria"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of both arms."""
    seeds: tuple[int, ...] = (0, 1, 2)
    heldout: int = 400
    """Held-out documents to measure on."""


TEMPLATE = '''"""{title}."""

from ayllu.recipes.sweeping.experiment import Experiment, Prediction

EXPERIMENT = Experiment(
    question="Does … lower the bits per byte?",
    prediction=Prediction(below=-0.01, why="…"),
    recipe="cria",
    options={{"budget": 1.0, "speed": 5000.0}},
    arms={{"16 rows": {{"batch": 16}}, "8 rows": {{"batch": 8}}}},
    seeds=(0, 1, 2),
)
'''


@dataclass(frozen=True, kw_only=True)
class File:
    """An experiment's file, read."""

    path: Path
    experiment: Experiment
    asked: str
    """sha256 of the file without its result."""
    result: Mapping[str, Any] | None

    @property
    def changed(self) -> bool:
        """Whether what is asked is not what the result answers."""
        return self.result is not None and self.result.get("asked") != self.asked


def new(name: str, folder: Path) -> Path:
    """Write the next file from a template. Raises UserError for a name that is no identifier."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,60}", name):
        raise UserError(
            f"{visible(name, longest=80)!r} is no name for an experiment; use a-z, 0-9 and _, as in small_batch"
        )
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[:4]) for path in files(folder)]
    path = folder / f"{max(numbers, default=0) + 1:04d}_{name}.py"
    write_atomically(path, TEMPLATE.format(title=name.replace("_", " ").capitalize()))
    return path


def files(folder: Path) -> list[Path]:
    """Experiments in a folder, by number."""
    return sorted(path for path in folder.glob("*.py") if re.match(r"\d{4}_", path.name))


def find(name: str, folder: Path) -> Path:
    """The file with that path, number or name. Raises UserError where there is none."""
    given = Path(name)
    if given.is_file():
        return given
    number = int(name) if name.isdecimal() else None
    matching = [p for p in files(folder) if name in (p.stem, p.stem[5:]) or number == int(p.name[:4])]
    said = visible(name, longest=80)
    if not matching:
        raise UserError(f"there is no experiment {said!r} in {folder}; `ayllu experiment report` lists them")
    if len(matching) > 1:
        told = ", ".join(p.stem for p in matching)
        raise UserError(f"{said!r} in {folder} is any of {told}; give one of these names")
    return matching[0]


def read(path: Path) -> File:
    """Run the file, which is the user's own program, for what it sets. Raises UserError where that fails."""
    try:
        text = path.read_text(encoding="utf-8")
        found = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        said = visible(f"{type(error).__name__}: {error}", longest=300)
        raise UserError(f"{path} cannot be run: {said}; mend the file") from error
    experiment, result = found.get("EXPERIMENT"), found.get("RESULT")
    if not isinstance(experiment, Experiment):
        raise UserError(f"{path} sets no EXPERIMENT; `ayllu experiment new NAME` writes one that does")
    if wrong := _wrong(experiment):
        raise UserError(f"{path}: {wrong}")
    if result is not None and not _is_result(result):
        raise UserError(f"{path}: its RESULT is none that `ayllu experiment run` wrote; remove it to ask again")
    asked = hashlib.sha256(text.partition(MARK)[0].rstrip().encode()).hexdigest()
    return File(path=path, experiment=experiment, asked=asked, result=result)


def _wrong(asked: Experiment) -> str | None:
    """What of an experiment cannot be: the file is a program, so that anything may stand anywhere."""
    prediction, seeds = asked.prediction, asked.seeds
    if not isinstance(prediction, Prediction) or not _is_number(prediction.below):
        return "its prediction is no Prediction(below=NUMBER)"
    if not all(isinstance(words, str) for words in (asked.question, prediction.why, asked.recipe)):
        return "question, why and recipe are words"
    if not isinstance(seeds, tuple | list) or not all(type(seed) is int for seed in seeds) or len(seeds) < 2:
        return "an experiment compares two arms over two seeds or more, which are whole numbers"
    if len(set(seeds)) < len(seeds):
        return "a seed is there twice, which would count one training as two"
    if type(asked.heldout) is not int or asked.heldout < 1:
        return "heldout is how many documents to measure on, at least 1"
    if not isinstance(asked.arms, Mapping) or len(asked.arms) != 2 or not all(isinstance(a, str) for a in asked.arms):
        return "an experiment compares two arms over two seeds or more"
    given = (asked.options, *asked.arms.values())
    if not all(isinstance(options, Mapping) and all(isinstance(name, str) for name in options) for options in given):
        return "options, and those of each arm, are names with values"
    if any("seed" in options for options in given):
        return "seed is no option of an arm: seeds says which both arms are trained with"
    return None


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and isinstance(result.get("asked"), str)
        and result.get("verdict") in (HELD, REFUTED, OPEN)
        and _is_number(result.get("difference"))
        and all(result.get(end) is None or _is_number(result[end]) for end in ("low", "high"))
        and (result.get("low") is None) == (result.get("high") is None)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def run(path: Path, place: Place) -> dict[str, Any]:
    """Train both arms with every seed, from where a killed run stopped, and write the result into the file.

    The record in the home's folder `experiments` says what was predicted before anything ran. Raises UserError for a
    file that cannot be run, and where what was asked has changed since it was answered.
    """
    file = read(path)
    if file.changed:
        raise UserError(
            f"{path} asks something else than what its result answers; ask it in a new file (`ayllu experiment new`), "
            "or remove RESULT from the file to ask again"
        )
    asked, recipe = file.experiment, RECIPES.find(file.experiment.recipe)
    calls = [(seed, arm) for seed in asked.seeds for arm in asked.arms]
    for seed, arm in calls:
        trial(recipe, {**asked.options, **asked.arms[arm], "seed": seed}, documents=asked.heldout)
    with run_of_many(place, f"experiment {path.stem}") as parts:
        record = _Journal(file, parts)
        for seed, arm in calls:
            options = {**asked.options, **asked.arms[arm], "seed": seed}
            title = f"experiment {path.stem}: {arm}, seed {seed}"
            say(title)
            value = run_trial(recipe, options, parts, documents=asked.heldout, title=title).value
            if not math.isfinite(value):
                raise UserError(
                    f"{title}: its bits per byte are {value}, which decides nothing; ask it of other options"
                )
            record.add(arm, value)
        return record.finish()


class _Journal:
    """The record of an experiment in the home, and the result in its file."""

    def __init__(self, file: File, place: Place) -> None:
        folder = place.store.home / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._path = file, folder / f"{file.path.stem}.json"
        asked = file.experiment
        self._values: dict[str, list[float]] = {arm: [] for arm in asked.arms}
        self.facts: dict[str, Any] = {
            "kind": "experiment",
            "name": file.path.stem,
            "question": asked.question,
            "prediction": {"below": asked.prediction.below, "why": asked.prediction.why},
            "recipe": asked.recipe,
            "options": dict(asked.options),
            "arms": {name: dict(options) for name, options in asked.arms.items()},
            "seeds": list(asked.seeds),
            "asked": file.asked,
            "state": RUNNING,
            "started": now(),
            "result": None,
        }
        self._save()

    def add(self, arm: str, value: float) -> None:
        """Keep what one training came to."""
        self._values[arm].append(round(value, 6))
        self.facts["values"] = self._values
        self._save()

    def finish(self) -> dict[str, Any]:
        """The verdict, in the record and in the file."""
        first, second = self._values.values()
        differences = [b - a for a, b in zip(first, second, strict=True)]
        found = spread(differences)
        result = {
            "verdict": verdict(found, self._file.experiment.prediction.below),
            "difference": _rounded(found["mean"]),
            "low": _rounded(found["low"]),
            "high": _rounded(found["high"]),
            "bits_per_byte": self._values,
            "date": now()[:10],
            "processor": processor(),
            "asked": self._file.asked,
        }
        self.facts |= {"state": FINISHED, "result": result, "ended": now()}
        self._save()
        text = self._file.path.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
        lines = "".join(_entry(name, value, indent=1) for name, value in result.items())
        write_atomically(self._file.path, f"{text}\n{MARK}RESULT = {{\n{lines}}}\n")
        return self.facts

    def _save(self) -> None:
        write_atomically(self._path, json.dumps(self.facts, indent=1) + "\n")


def verdict(found: Mapping[str, float | None], below: float) -> str:
    """`held` where the whole 95 % interval is below the threshold, `refuted` where none of it is, else `open`."""
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return OPEN
    return HELD if high < below else REFUTED if low >= below else OPEN


def report(folder: Path) -> list[dict[str, Any]]:
    """A row for each experiment of a folder: name, question, below, state, and what came.

    Of a file that cannot be read the question is why, and no number is there; the others are told all the same.
    """
    rows: list[dict[str, Any]] = []
    came = ("verdict", "difference", "low", "high", "date")
    for path in files(folder):
        try:
            file = read(path)
        except UserError as error:
            unknown = {
                "name": path.stem,
                "question": str(error).removeprefix(f"{path} "),
                "below": None,
                "state": "cannot be read",
            }
            rows.append({**unknown, **dict.fromkeys(came)})
            continue
        result = file.result or {}
        rows.append(
            {
                "name": path.stem,
                "question": file.experiment.question,
                "below": file.experiment.prediction.below,
                "state": "changed since" if file.changed else FINISHED if file.result else "not run",
                **{name: result.get(name) for name in came},
            }
        )
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _entry(name: str, value: Any, *, indent: int) -> str:
    """A line of a dictionary, or several where it would be longer than formatters leave it."""
    margin = "    " * indent
    line = f"{margin}{json.dumps(name)}: {_literal(value)},\n"
    if len(line) <= LONGEST or not isinstance(value, dict):
        return line
    inner = "".join(_entry(key, one, indent=indent + 1) for key, one in value.items())
    return f"{margin}{json.dumps(name)}: {{\n{inner}{margin}}},\n"


def _literal(value: Any) -> str:
    """A value as Python, in the quotes that formatters want."""
    return "None" if value is None else json.dumps(value, ensure_ascii=False)
