"""What was expected, written down before it was measured: a file that only grows, in the home.

A line is a forecast (`id`, `at`, `by`, `what`, `value`, `low`, `high`, `about`) or what came of one (`id`, `at`,
`measured`); of both the first counts. An interval that the forecaster does not give follows from what came of its
earlier forecasts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_bytes
from ayllu.lab.shelf.index import Entry, entries
from ayllu.lab.shelf.jobs import now
from ayllu.lab.store import Store

LEVEL = 0.8
"""Of the intervals: so often they should hold what comes."""
ASSUMED = 3
"""Forecasts that what is assumed of the spread counts as, beside those that have been measured."""
SPREADS = {"seconds": 0.2, "bits_per_byte": 0.1, "loss": 0.1}
"""Assumed standard deviation of the logarithm of measured over expected, until runs have shown it; 0.3 of others."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One figure that was expected."""

    id: str
    at: str
    by: str
    """What made it: a stage, or a command."""
    what: str
    """seconds, bits_per_byte, loss, bytes, kwh, …"""
    value: float
    low: float | None
    """Ends of the 80 % interval; None in records from before intervals were kept."""
    high: float | None
    about: Mapping[str, Any] = field(default_factory=dict)
    """Stage and key of the result that it is about, or words."""
    measured: float | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over expected, where both are above 0."""
        good = self.measured is not None and self.measured > 0 and self.value > 0
        return self.measured / self.value if good and self.measured is not None else None

    @property
    def inside(self) -> bool | None:
        """Whether the interval held what came; None where there is no interval or nothing has come."""
        if self.measured is None or self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high

    def as_json(self) -> dict[str, Any]:
        names = ("id", "at", "by", "what", "value", "low", "high", "measured", "about")
        return {**{name: getattr(self, name) for name in names}, "inside": self.inside}


def forecast(
    store: Store,
    *,
    by: str,
    what: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    about: Mapping[str, Any] | None = None,
) -> Forecast:
    """Write down what is expected, and an interval from what came of earlier forecasts where none is given.

    A home that cannot be read or written keeps nothing; the forecast is given all the same.
    """
    if low is None or high is None:
        earlier: list[Forecast] = []
        with contextlib.suppress(UserError):
            earlier = read_ledger(store)
        low, high = interval(value, ratios(earlier, by, what), what)
    found = Forecast(
        id=secrets.token_hex(6), at=now(), by=by, what=what, value=value, low=low, high=high, about=dict(about or {})
    )
    line = found.as_json()
    del line["measured"], line["inside"]
    _append(store, line)
    return found


def measure(store: Store, id: str, measured: float) -> None:
    """Write down what came of a forecast."""
    _append(store, {"id": id, "at": now(), "measured": measured})


def settle(store: Store) -> dict[str, float]:
    """Write down what results say of forecasts that nothing has come of: a result may be removed, and what came stays.

    What came, by the forecast's id. A home that cannot be read or written keeps nothing.
    """
    came: dict[str, float] = {}
    with contextlib.suppress(UserError):
        waiting = {one.id for one in read_ledger(store) if one.measured is None}
        for one in all_forecasts(store, entries(store)) if waiting else ():
            if one.id in waiting and one.measured is not None and math.isfinite(one.measured):
                came[one.id] = one.measured
        keep_settled(store, came)
    return came


def keep_settled(store: Store, came: Mapping[str, float]) -> None:
    """Write down what came of forecasts that the ledger does not have yet. UserError where it cannot be read."""
    waiting = {one.id for one in read_ledger(store) if one.measured is None} if came else set()
    for id, measured in came.items():
        if id in waiting:
            measure(store, id, measured)


def interval(value: float, past: Sequence[float], what: str) -> tuple[float, float]:
    """The 80 % interval of what comes of `value`, by the `past` ratios of measured over expected.

    Student's t for the logarithm of the next ratio, with a conjugate prior of `ASSUMED` forecasts without bias and of
    the assumed spread (Gelman et al., Bayesian Data Analysis, 3rd edition, section 3.3). A value that is not above 0
    has none but itself.
    """
    if value <= 0:
        return value, value
    logs = [math.log(ratio) for ratio in past]
    count, spread = len(logs), SPREADS.get(what, 0.3)
    mean = fmean(logs) if logs else 0.0
    total = ASSUMED + count
    squares = ASSUMED * spread**2 + sum((x - mean) ** 2 for x in logs) + ASSUMED * count / total * mean**2
    centre = count * mean / total
    half = _t(0.5 + LEVEL / 2, total) * math.sqrt(squares / total * (1 + 1 / total))
    return value * math.exp(centre - half), value * math.exp(centre + half)


def _t(probability: float, freedom: int) -> float:
    """Student's quantile to three digits from 3 degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))


def ratios(found: Iterable[Forecast], by: str, what: str) -> list[float]:
    """Measured over expected of all forecasts of one kind."""
    return [one.ratio for one in found if (one.by, one.what) == (by, what) and one.ratio is not None]


def read_ledger(store: Store) -> list[Forecast]:
    """All forecasts, oldest first, with what came of them; `unreadable` counts the lines that this leaves out."""
    return _ledger(store)[0]


def unreadable(store: Store) -> int:
    """Lines of the ledger that are no forecast and nothing that came of one, such as one that a kill cut short."""
    return _ledger(store)[1]


def _ledger(store: Store) -> tuple[list[Forecast], int]:
    found: dict[str, dict[str, Any]] = {}
    wrong = 0
    try:
        lines = regular_bytes(_path(store)).splitlines()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise UserError(f"{_path(store)} cannot be read ({error.strerror}); move it away or mend it") from error
    for line in lines:
        try:
            row = json.loads(line)
            if "measured" in row:
                found[row["id"]].setdefault("measured", _finite(row["measured"]))
            else:
                found.setdefault(row["id"], _checked(row))
        except (ValueError, RecursionError, KeyError, TypeError, OverflowError):
            wrong += bool(line.strip())
    return [Forecast(**row) for row in found.values()], wrong


_WORDS, _ENDS = ("id", "at", "by", "what"), ("low", "high")


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a forecast's line. Raises ValueError, TypeError or KeyError where it is none."""
    words, about = {name: row[name] for name in _WORDS}, row["about"]
    if not all(isinstance(word, str) for word in words.values()) or not isinstance(about, dict):
        raise TypeError("no line of a forecast")
    ends = {name: None if row[name] is None else _finite(row[name]) for name in _ENDS}
    return {**words, **ends, "value": _finite(row["value"]), "about": about}


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no finite number")
    return float(value)


def all_forecasts(store: Store, rows: Sequence[Entry]) -> list[Forecast]:
    """The ledger, and what results from before it say they had expected (those have no interval), oldest first."""
    found, seen = [], set()
    by_key = {row.key: row for row in rows if row.key and row.state == "finished" and row.kind != "run"}
    after: dict[str, list[Entry]] = {}
    for row in rows:
        for _, key in row.inputs.values():
            after.setdefault(key, []).append(row)
    for one in read_ledger(store):
        key = str(one.about.get("key"))
        seen.add((key, one.what))
        measured = (
            one.measured if one.measured is not None else _measured(one.what, by_key.get(key), after.get(key, []))
        )
        found.append(Forecast(**{**one.__dict__, "measured": measured}))
    for key, row in by_key.items():
        for name, value in row.facts.items():
            what = name.removeprefix("predicted ")
            if what != name and (key, what) not in seen and isinstance(value, int | float):
                measured = _measured(what, row, after.get(key, []))
                about = {"stage": row.stage, "key": key}
                found.append(
                    Forecast(
                        id=f"{key[:12]}", at=row.created, by=row.stage, what=what, value=float(value),
                        low=None, high=None, about=about, measured=measured,
                    )
                )  # fmt: skip
    return sorted(found, key=lambda one: one.at)


def _measured(what: str, row: Entry | None, after: Iterable[Entry]) -> float | None:
    """What a result, or a measurement of it, says of `what`."""
    if row is None:
        return None
    value = row.facts.get(what)
    if isinstance(value, int | float):
        return float(value)
    sources: dict[str, float] = {}
    for other in after:
        for role, prefix in (("base", f"base_{what} "), ("model", f"{what} ")):
            if other.inputs.get(role, ["", ""])[1] == row.key:
                values = {**other.scores, **{n: v for n, v in other.facts.items() if n.startswith("base_")}}
                sources |= {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
        if sources:
            break
    # As recipes do: the plain English that a small model learns from, else the first source.
    return sources.get("everyday-english", next(iter(sources.values()), None))


def _append(store: Store, line: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        _path(store).parent.mkdir(parents=True, exist_ok=True)
        with _path(store).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # A line that a full disk or a kill cut short must not swallow the next one.
            end = file.seek(0, os.SEEK_END)
            if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _path(store: Store) -> Path:
    return store.home / "forecasts.jsonl"
