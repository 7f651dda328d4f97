"""Recipes by name: ours, and those of others."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry
from ayllu.recipes.cria import cria
from ayllu.recipes.draft import draft
from ayllu.recipes.llama import llama
from ayllu.recipes.names import GROUP
from ayllu.recipes.sight.see import see
from ayllu.recipes.smol import smol

Recipe = Callable[..., Any]
"""A function that returns the `Handle[Release]` of what it describes."""

RECIPES: Registry[Recipe] = Registry("recipe", GROUP)
for recipe in (cria, smol, draft, llama, see):
    RECIPES.add(recipe.__name__)(recipe)


def made_by(recipe: str | Recipe, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """A call of a recipe as JSON, for the name of what it makes; None for one that has no name, or other options."""
    name = recipe if isinstance(recipe, str) else getattr(recipe, "__name__", "")
    if name not in RECIPES.names() or (not isinstance(recipe, str) and RECIPES.find(name) is not recipe):
        return None
    kept = {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in options.items()}
    try:
        return {"recipe": name, "options": json.loads(json.dumps(kept, allow_nan=False))}
    except (TypeError, ValueError):
        return None


def recalled(stated: Any) -> tuple[Recipe, dict[str, Any]] | None:
    """The recipe and the options that `made_by` gave; None where they say nothing, or the recipe is not here."""
    if not isinstance(stated, dict) or not isinstance(stated.get("options"), dict):
        return None
    try:
        recipe = RECIPES.find(str(stated.get("recipe")))
    except UserError:
        return None
    hints = typing.get_type_hints(recipe)
    if not stated["options"].keys() <= inspect.signature(recipe).parameters.keys():
        return None
    return recipe, {name: _typed(value, hints.get(name)) for name, value in stated["options"].items()}


def _typed(value: Any, hint: Any) -> Any:
    """A value as the parameter's type has it: JSON knows neither paths nor tuples."""
    kinds = {typing.get_origin(kind) or kind for kind in (hint, *typing.get_args(hint))}
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    return Path(value) if isinstance(value, str) and Path in kinds and str not in kinds else value


def command_of(recipe: str, options: Mapping[str, Any]) -> str:
    """What `ayllu run` would be given, without the folders of this machine."""
    words = ["ayllu run", recipe]
    for name, value in options.items():
        parts = value if isinstance(value, tuple | list) else [value]
        said = [Path(part).name if Path(str(part)).is_absolute() else str(part) for part in parts if part is not None]
        words += [f"--{name.replace('_', '-')} {' '.join(said)}"] if said else []
    return " ".join(words)
