"""Experiments as plain Python functions; a function's parameters are the options of `ayllu run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ayllu.recipes.cria import cria
from ayllu.recipes.draft import draft
from ayllu.recipes.llama import llama
from ayllu.recipes.smol import smol

RECIPES: dict[str, Callable[..., Any]] = {recipe.__name__: recipe for recipe in (cria, smol, draft, llama)}
"""Every recipe by its name. Each returns the handle of a release."""
