"""What a plan computed beside its layout, as options of the recipe that is launched: handed over, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS

OF_THE_PLAN = ("layout", "nodes")
"""Options of every run that a plan says by itself."""
ASKED = {"sequence": "length", "batch": "batch", "tokens": "tokens", "budget": "budget"}
"""What one asks of a plan, and the option of a recipe that says the same."""


def planned_options(
    plan: Mapping[str, Any], choice: int, recipe: str, *, parameters: Collection[str], given: Sequence[str]
) -> tuple[str, ...]:
    """Words behind those that are `given`, so that `recipe` (with these `parameters`) runs what was planned.

    The precision is part of the layout. Raises UserError where the recipe cannot run it, or another value is given.
    """
    for name in OF_THE_PLAN:
        if _said(given, f"--{name}") is not None:
            raise UserError(f"the plan says the {name}; leave out --{name} or --plan")
    if "model" not in plan:
        return ()
    if plan.get("active_parameters", plan.get("parameters")) != plan.get("parameters"):
        raise UserError(f"the plan is of {plan['model']}, a mixture of experts, which is planned only")
    if plan.get("adapter_rank"):
        raise UserError("the plan is of adapters, which no recipe takes from a plan; plan without --adapter-rank")
    wanted = _of_recipe(plan, recipe) if _is_recipe(plan, recipe) else _of_model(plan, choice, recipe, parameters)
    lacking = [name for name in wanted if name not in parameters and name != "speed"]
    if lacking:
        told = " and ".join(f"{name} {wanted[name]}" for name in lacking)
        raise UserError(
            f"the plan has {told}, for which recipe {recipe} has no option; plan without, or another recipe"
        )
    words: list[str] = []
    for name, value in wanted.items():
        said = _said(given, f"--{name}")
        if said is not None and not _same(said, value):
            raise UserError(f"--{name} is {said}, and the plan was made for {value}; leave it out, or plan again")
        if said is None and name in parameters:
            words += [f"--{name}", value]
    return tuple(words)


def _is_recipe(plan: Mapping[str, Any], recipe: str) -> bool:
    """Whether a recipe was planned. A plan from before it said so is one of a recipe if it bears its name."""
    return bool(plan["recipe"] if "recipe" in plan else plan["model"] == recipe)


def _of_recipe(plan: Mapping[str, Any], recipe: str) -> dict[str, str]:
    """What was asked for; the rest is the recipe's own."""
    if plan["model"] != recipe:
        raise UserError(f"the plan is of recipe {plan['model']}; launch that one, or plan {recipe}")
    asked = {ASKED[name]: value for name, value in plan.get("asked", {}).items() if name in ASKED}
    if "batch" in asked:
        asked["batch"] = plan["global_batch"]
    return {name: _text(value) for name, value in asked.items()}


def _of_model(plan: Mapping[str, Any], choice: int, recipe: str, parameters: Collection[str]) -> dict[str, str]:
    """Model, batch, length, tokens, and the speed that its time is predicted with."""
    if "model" not in parameters:
        raise UserError(
            f"the plan is of the model {plan['model']}, and recipe {recipe} trains its own; "
            f"launch one that takes --model, such as llama, or plan {recipe}"
        )
    name = plan["model"].lower()
    folder = plan.get("folder")
    if folder is None and name not in PRESETS:
        raise UserError(
            f"the plan is of {plan['model']}, whose shape no recipe takes by name; plan a folder's config.json"
        )
    if folder is not None and not (Path(folder).is_file() or (Path(folder) / "config.json").is_file()):
        raise UserError(f"{folder}, which the plan was made of, has no config.json here; plan again")
    wanted = {"model": folder or name}
    wanted |= {"length": _text(plan["sequence"]), "batch": _text(plan["global_batch"]), "tokens": _text(plan["tokens"])}
    speed = plan["pools"][0]["choices"][choice - 1].get("tokens_per_s")
    return wanted | ({"speed": f"{speed:.6g}"} if speed else {})


def _text(value: float) -> str:
    """A number without an exponent where it is whole."""
    return f"{value:.0f}" if value == int(value) else repr(value)


def _said(words: Sequence[str], option: str) -> str | None:
    """What the words say of the option, as `--option value` or `--option=value`; None where it is not among them."""
    for place, word in enumerate(words):
        if word == option:
            return words[place + 1] if place + 1 < len(words) else ""
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _same(said: str, value: str) -> bool:
    try:
        return float(said) == float(value)
    except ValueError:
        return said == value or (said.lower() == value and value in PRESETS)
