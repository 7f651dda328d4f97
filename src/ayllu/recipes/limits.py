"""What the options of recipes have in common: numbers that make no sense are refused before anything runs."""

from __future__ import annotations

import math

from ayllu.lab.error import UserError

LONGEST_MINUTES = 60.0 * 24 * 365
"""A budget above a year is a slip."""


def check_budget(minutes: float, *, usual: float) -> None:
    """Raise UserError on a budget that no run can have."""
    if not 0 < minutes <= LONGEST_MINUTES:
        raise UserError(f"the budget is {minutes:g} minutes; give a number above 0, such as --budget {usual:g}")


def check_least(least: int, **values: int | None) -> None:
    """Raise UserError on a value below `least`; None stands for what is chosen later."""
    for name, value in values.items():
        if value is not None and value < least:
            raise UserError(f"{name} is {value}; give at least {least}")


def check_positive(**values: float | None) -> None:
    """Raise UserError on a number that is not above 0 and finite; None stands for what is chosen later."""
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} is {value:g}; give a number above 0")
