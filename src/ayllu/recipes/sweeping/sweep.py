"""A sweep: trials of one recipe, the best of them over several seeds, and the record in the home's folder `sweeps`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ayllu.lab.error import Stopped, UserError
from ayllu.lab.graph import Handle
from ayllu.lab.key import canonical
from ayllu.lab.progress import say
from ayllu.lab.run import Place, plain, run_of_many
from ayllu.lab.shelf.jobs import FAILED, FINISHED, RUNNING, now, told
from ayllu.lab.store import write_atomically
from ayllu.lab.visible import visible
from ayllu.recipes.sweeping.axes import Axis
from ayllu.recipes.sweeping.picture import draw_sweep
from ayllu.recipes.sweeping.search import Method, count, search
from ayllu.recipes.sweeping.trial import Measured, run_trial, trial

FOLDER = "sweeps"
LONGEST_REASON = 300
"""Letters of why a trial failed."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is tried."""

    name: str
    """Of the recipe."""
    recipe: Callable[..., Handle[Any]]
    options: Mapping[str, Any]
    """Those that stay the same."""
    axes: Sequence[Axis]
    method: Method = "grid"
    trials: int = 20
    seeds: int = 3
    """With how many further seeds the best is trained."""
    seed: int = 0
    documents: int = 400

    @property
    def id(self) -> str:
        """The same for the same sweep: one that was killed goes on in its record."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("recipe", "axes")}
        fields["options"] = {name: _said(value) for name, value in self.options.items()}
        return hashlib.sha256(canonical({**fields, "axes": {a.name: a.as_json() for a in self.axes}})).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Every `of`-th trial from `number` on: what one of several workers does."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UserError(f"there is no part {self.number} of {self.of}; parts count from 1")


def run_sweep(sweep: Sweep, place: Place) -> dict[str, Any]:
    """Every trial that is not there yet, then the best with further seeds. The record says where it stands meanwhile.

    Raises UserError before the first trial for what cannot be tried, and at the end where every trial failed.
    """
    total = count(sweep.method, sweep.axes, sweep.trials)
    check(sweep)
    with run_of_many(place, f"sweep {sweep.id[:8]} of {sweep.name}") as parts:
        record = _Record(sweep, parts)
        found = search(sweep.method, sweep.axes, record.run, trials=sweep.trials, seed=sweep.seed)
        for done, _ in enumerate(found, start=1):
            say(f"sweep {sweep.id}: {done} trainings done; {total} trials are asked for")
        record.settle()
    return record.facts


def run_part(sweep: Sweep, place: Place, part: Part) -> tuple[int, int]:
    """Train the trials of one part that are not there yet, of successive halving their first budget.

    Gives how many it has, and how many of them failed.

    No record is kept: the sweep itself finds what was made. A trial that fails here fails there, and is told there.
    """
    check(sweep)
    asked = mine = failed = 0

    def train(varied: dict[str, Any], share: float) -> None:
        nonlocal asked, mine, failed
        asked += 1
        if asked % part.of != part.number % part.of:
            return  # as if it had failed, so that nothing more is asked of it
        mine += 1
        try:
            measure(sweep, parts, varied, sweep.seed, share)
        except Stopped:
            raise
        except Exception as error:
            failed += 1
            say(f"sweep {sweep.id}: {varied} failed: {told(error)}")

    with run_of_many(place, f"sweep {sweep.id[:8]} of {sweep.name}, part {part.number}/{part.of}") as parts:
        for _ in search(sweep.method, sweep.axes, train, trials=sweep.trials, seed=sweep.seed):
            pass
    return mine, failed


def check(sweep: Sweep) -> None:
    """Refuse what the recipe refuses before anything runs: each value alone, and the ends of ranges."""
    if sweep.trials < 1 or sweep.seeds < 0 or sweep.documents < 1:
        raise UserError("trials and documents are at least 1 each, and seeds at least 0")
    if sweep.method == "halving" and "budget" in [axis.name for axis in sweep.axes]:
        raise UserError("successive halving varies the budget itself; fix it with --budget, or use --search grid")
    for axis in sweep.axes:
        for value in axis.values or (axis.low, axis.high):
            given = int(value) if axis.whole else value
            trial(sweep.recipe, {**sweep.options, axis.name: given}, documents=sweep.documents)


class _Record:
    """The record of a sweep, which is written anew after each change: plain JSON, whole at any time."""

    def __init__(self, sweep: Sweep, place: Place) -> None:
        self._sweep, self._place = sweep, place
        self._folder = place.store.home / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self.facts: dict[str, Any] = {
            "kind": "sweep",
            "id": sweep.id,
            "recipe": sweep.name,
            "command": place.command,
            "options": {name: _said(value) for name, value in sweep.options.items()},
            "axes": {axis.name: axis.as_json() for axis in sweep.axes},
            "search": sweep.method,
            "metric": "bits_per_byte",
            "state": RUNNING,
            "started": now(),
            "updated": now(),
            "trials": [],
            "best": None,
            "picture": None,
        }
        self._save()

    def run(self, varied: dict[str, Any], share: float) -> float | None:
        """One training: its value, or None where it failed, which the record says with the reason."""
        return self._one(varied, self._sweep.seed, share)

    def _one(self, varied: dict[str, Any], seed: int, share: float) -> float | None:
        known = next(
            (r for r in self.facts["trials"] if (r["values"], r["seed"], r["share"]) == (varied, seed, share)), None
        )
        if known is not None:
            return known["value"]  # a random search may ask twice for one thing
        row: dict[str, Any] = {
            "number": len(self.facts["trials"]) + 1, "values": varied, "seed": seed, "share": round(share, 6),
            "state": RUNNING, "value": None, "key": None, "seconds": None, "parameters": None, "tokens": None,
            "error": None,
        }  # fmt: skip
        row["share"] = share
        self.facts["trials"].append(row)
        self._save()
        try:
            found = measure(self._sweep, self._place, varied, seed, share)
            if not math.isfinite(found.value):
                raise UserError(f"its bits per byte are {found.value}: the training came to nothing")
        except Stopped:
            raise
        except Exception as error:  # of a library too, such as one that gets no memory
            row |= {"state": FAILED, "error": visible(told(error), longest=LONGEST_REASON)}
            say(f"sweep {self._sweep.id}: {varied} failed: {row['error']}")
        else:
            row |= {"state": FINISHED, **{n: v for n, v in dataclasses.asdict(found).items() if n != "source"}}
            self.facts["metric"] = f"bits_per_byte {found.source}"
        self._save()
        return row["value"]

    def settle(self) -> None:
        """Train the best with further seeds, draw the surface, and say that all is done."""
        whole = [row for row in self.facts["trials"] if row["value"] is not None and row["share"] == 1.0]
        if not whole:
            self.facts["state"] = FAILED
            self._save()
            errors = [row["error"] for row in self.facts["trials"] if row["error"]]
            raise UserError(
                f"no trial of the sweep succeeded; the last one: {errors[-1] if errors else 'was stopped early'}"
            )
        best = min(whole, key=lambda row: row["value"])
        first = self._sweep.seed + 1
        again = [self._one(best["values"], seed, 1.0) for seed in range(first, first + self._sweep.seeds)]
        # The value by which it was chosen is the luckiest of all: it says nothing of what to expect.
        fresh = [value for value in again if value is not None]
        chosen = {"values": best["values"], "chosen_by": best["value"]}
        self.facts["best"] = {**chosen, **spread(fresh), "by_seed": fresh}
        picture = self._folder / f"{self._sweep.id}.png"
        draw_sweep(self.facts, picture)
        self.facts |= {"state": FINISHED, "picture": picture.name}
        self._save()

    def _save(self) -> None:
        self.facts["updated"] = now()
        write_atomically(self._folder / f"{self._sweep.id}.json", json.dumps(self.facts, indent=1) + "\n")


def measure(sweep: Sweep, place: Place, varied: Mapping[str, Any], seed: int, share: float) -> Measured:
    """One training with a share of the budget, and what it came to. Raises UserError where it fails."""
    options = {**sweep.options, **varied, "seed": seed}
    if share != 1.0:
        options["budget"] = share * float(options.get("budget", _default_budget(sweep.recipe)))
    said = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in varied.items()
    )
    title = f"sweep {sweep.id[:8]}: {said}, seed {seed}"
    return run_trial(sweep.recipe, options, place, documents=sweep.documents, title=title)


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean of several seeds with Student's 95 % interval, which one seed has not; None without any."""
    from ayllu.evals.statistics import mean_interval

    if len(values) < 2:
        return {"mean": fmean(values) if values else None, "low": None, "high": None}
    found = mean_interval(values)
    return {"mean": found.value, "low": found.low, "high": found.high}


def _said(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else plain(value)


def _default_budget(recipe: Callable[..., Any]) -> float:
    import inspect

    parameter = inspect.signature(recipe).parameters.get("budget")
    if parameter is None:
        raise UserError("successive halving needs a recipe with a budget; use --search grid or random")
    return float(parameter.default)
