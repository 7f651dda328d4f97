"""What a sweep varies: `--set lr=1e-3,3e-3`, `lr=1e-4..1e-2` or `width=64..256:64`, checked against the recipe."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.visible import visible

LOG_FROM = 10.0
"""A range of positive numbers is drawn from on a scale of logarithms where its ends differ by this factor."""
MOST_STEPS = 1_000_000
LARGEST_WHOLE = 2**53
"""Above it a number that is written with a point or an exponent is not the one that is read."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One option and its values, or the range that they are drawn from."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    whole: bool = False
    """Whether the values are integers."""

    @property
    def log(self) -> bool:
        """Whether a range is drawn from by its logarithm."""
        return not self.values and self.step is None and self.low > 0 and self.high / self.low >= LOG_FROM

    def as_json(self) -> dict[str, Any]:
        if self.values:
            return {"values": list(self.values)}
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}


def read_axes(recipe: Callable[..., Any], given: Sequence[str], fixed: Mapping[str, Any]) -> list[Axis]:
    """The axes that `--set` names. Raises UserError for an option that the recipe has not, or that is fixed too."""
    hints = typing.get_type_hints(recipe)
    known = [p.name for p in inspect.signature(recipe).parameters.values() if p.kind is p.KEYWORD_ONLY]
    axes: list[Axis] = []
    for words in given:
        name, equals, text = words.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not text.strip():
            raise UserError(f"--set {_shown(words)} says no values; write --set lr=1e-3,3e-3 or --set lr=1e-4..1e-2")
        if name not in known:
            raise UserError(f"the recipe {recipe.__name__} has no option {_shown(name)}; it has {', '.join(known)}")
        if name == "seed":
            raise UserError("seeds are no axis: --seeds says with how many more the best is trained")
        if name in fixed or name in [axis.name for axis in axes]:
            raise UserError(f"{name} is given twice; vary it with one --set, or fix it")
        axes.append(_axis(name, text.strip(), hints[name]))
    if not axes:
        raise UserError("nothing is varied; say what with --set, such as --set lr=0.005,0.01,0.02")
    return axes


def _axis(name: str, text: str, hint: Any) -> Axis:
    # Of a union, not of what a tuple holds: that is another value than one number of it.
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = {kind for kind in members if isinstance(kind, type)}
    if ".." in text:
        low, _, rest = text.partition("..")
        high, _, step = rest.partition(":")
        if not kinds & {int, float}:
            raise UserError(f"{name} is no number, so it has no range; list its values with commas")
        whole = float not in kinds
        ends = [_number(name, part, whole=whole) for part in (low, high, *([step] if step else []))]
        if ends[0] >= ends[1] or (step and ends[2] <= 0):
            raise UserError(f"the range of {name}, {_shown(text)}, is empty; write LOW..HIGH or LOW..HIGH:STEP")
        if step:
            _check_steps(name, text, (ends[1] - ends[0]) / ends[2])
        return Axis(
            name=name, low=ends[0], high=ends[1], step=ends[2] if step else 1.0 if whole else None, whole=whole
        )  # fmt: skip
    values = tuple(_value(name, part.strip(), kinds) for part in text.split(","))
    if len(set(values)) < len(values):
        raise UserError(f"{name} has a value twice in {_shown(text)}; leave one out")
    return Axis(name=name, values=values)


def _check_steps(name: str, text: str, steps: float) -> None:
    """Raise UserError where a range is no whole number of steps, for then its end would never be drawn."""
    if steps > MOST_STEPS:
        raise UserError(f"the range of {name}, {_shown(text)}, has more than {MOST_STEPS:,} steps; leave the step out")
    if abs(steps - round(steps)) > 1e-9 * steps:
        raise UserError(f"the range of {name}, {_shown(text)}, does not end on a step; choose ends that do")


def _value(name: str, text: str, kinds: set[type]) -> Any:
    if int in kinds or float in kinds:
        return _number(name, text, whole=float not in kinds)
    if str in kinds and text:
        return text
    raise UserError(f"{name} cannot be varied: only options that are numbers or words can")


def _number(name: str, text: str, *, whole: bool) -> Any:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (whole and (value != int(value) or abs(value) > LARGEST_WHOLE)):
        raise UserError(f"{name} is {_shown(text)} in --set; give a {'whole ' if whole else ''}number")
    return int(value) if whole else value


def _shown(text: str) -> str:
    return repr(visible(text, longest=60))
