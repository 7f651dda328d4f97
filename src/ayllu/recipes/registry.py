"""Recipes by name: ours, and those of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ayllu.lab.plugins import Registry
from ayllu.recipes.cria import cria
from ayllu.recipes.draft import draft
from ayllu.recipes.llama import llama
from ayllu.recipes.smol import smol

Recipe = Callable[..., Any]
"""A function that returns the `Handle[Release]` of what it describes."""

RECIPES: Registry[Recipe] = Registry("recipe", "ayllu.recipes")
for recipe in (cria, smol, draft, llama):
    RECIPES.add(recipe.__name__)(recipe)
