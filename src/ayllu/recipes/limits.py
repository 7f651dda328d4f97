"""What the options of recipes have in common: numbers that make no sense are refused before anything runs."""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context
from ayllu.lab.progress import clock, say
from ayllu.lab.visible import visible

if TYPE_CHECKING:
    from ayllu.release.policy import Policy

LONGEST_MINUTES = 60.0 * 24 * 365
"""A budget above a year is a slip."""
WORDS = {float: "a number", int: "a whole number", str: "a text", bool: "True or False", types.NoneType: "None"}
"""What a type is called to whoever gave another."""


def check_options(recipe: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise UserError on an option that the recipe has not or that is of another type, and where one is missing."""
    name, named = getattr(recipe, "__name__", "recipe"), set(given)
    parameters = inspect.signature(recipe).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for unknown in sorted(named - set(known)):
            near = difflib.get_close_matches(unknown, known, n=1)
            way = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
            raise UserError(f"the recipe {name} has no option {visible(unknown, longest=80)!r}; {way}")
    if missing := [p.name for p in parameters if p.name in known and p.default is p.empty and p.name not in named]:
        raise UserError(f"the recipe {name} needs {' and '.join(missing)}; give it as an option")
    hints = _hints(recipe)
    for option, value in given.items():
        if not _fits(value, hint := hints.get(option, Any)):
            told = visible(repr(value), longest=80)
            raise UserError(f"the recipe {name} cannot take {told} for its option {option}; give {_told(hint)}")


def _hints(recipe: Callable[..., Any]) -> dict[str, Any]:
    """The types of its parameters; none where their names mean nothing while it runs, as in a plug-in of others."""
    try:
        return get_type_hints(recipe)
    except (NameError, AttributeError, TypeError):
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether the command line could have made that value of such an option; of types that it has not, any."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in (tuple, list, Sequence):
        return isinstance(value, Sequence) and not isinstance(value, str)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return not isinstance(hint, type) or hint not in WORDS or isinstance(value, hint)


def _told(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_told, get_args(hint)))
    if origin is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return WORDS.get(hint, "a list") if isinstance(hint, type) else "a list"


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


def check_multiple(of: int, **values: int | None) -> None:
    """Raise UserError on a value that is no multiple of `of` above 0; None stands for what is chosen later."""
    for name, value in values.items():
        if value is not None and (value < of or value % of):
            raise UserError(f"{name} is {value}; give a multiple of {of}, such as {of * max(round(value / of), 1)}")


def check_seed(seed: int) -> None:
    """Raise UserError on a seed that torch's generators cannot have, which else shows when much is done already."""
    if not -(2**62) <= seed < 2**62:
        raise UserError(f"the seed has {len(str(abs(seed)))} digits; give a number of at most 18")


def tell_time(ctx: Context, *, asked: float, expected: float, fewest: str) -> None:
    """Say and keep how many seconds of training are expected, beside those that the budget was to buy.

    `fewest` says what takes at least so long, where the two differ.
    """
    ctx.note("time", {"asked": round(asked, 1), "expected": round(expected, 1)})
    told = f"{clock(expected)} of training are expected, {clock(asked)} were asked for"
    if expected > 1.05 * asked:
        say(f"{told}: {fewest}, and this machine takes longer for that")
    else:
        say(told)


def check_licences(sources: Sequence[str], *, licence: str | None, policy: str) -> None:
    """Raise UserError where a source is not there, or its licence would stop the release at the end of the run.

    `licence` is what the user says of folders and data sets of the hub; `policy` is what the release is given.
    """
    from ayllu.data.sources.registry import find_source
    from ayllu.release.licences import read_licence

    rules = _rules(policy)
    for name in sources:
        source = find_source(name, licence=licence)
        objection = read_licence(source.licence, rules.permitted_licences).objection if rules else None
        if objection is None:
            continue
        own = name.startswith(("folder:", "hf:"))
        way = "say which it has with --licence, as an SPDX expression such as CC-BY-4.0" if own else "leave it out"
        raise UserError(
            f"a model trained on {source.name} could not be released: its licence ({source.licence}) {objection}; "
            f"{way}, or train for yourself alone with --private"
        )


def check_own_licence(path: Path, licence: str | None, *, policy: str) -> None:
    """Raise UserError where the licence of a file of the user's would stop the release at the end of the run."""
    from ayllu.release.licences import read_licence

    if (rules := _rules(policy)) is None:
        return
    if objection := read_licence(licence or "not stated", rules.permitted_licences).objection:
        shown = visible(str(path))
        raise UserError(
            f"a model trained on {shown} could not be released: its licence ({licence or 'not stated'}) {objection}; "
            "say which it has with --licence, as an SPDX expression such as CC-BY-4.0, or train for yourself alone "
            "with --private"
        )


def _rules(policy: str) -> Policy | None:
    """The rules of a release, by what the release is given; None for a private model, which has none."""
    from ayllu.recipes.stages.release import PRIVATE
    from ayllu.release.policy import find_policy
    from ayllu.release.trust.policy_file import SignedPolicy

    signed = SignedPolicy.from_argument(policy)
    return signed.policy if signed else None if policy == PRIVATE else find_policy(policy)


def check_rules(language: Sequence[str], rules: Sequence[str]) -> None:
    """Raise UserError on a language that is not known, and on what sets no rule of the cleaning."""
    if tuple(language) != ("en",) or rules:
        from ayllu.data.cleaning.options import read_rules

        read_rules(language, rules)
