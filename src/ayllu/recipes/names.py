"""The names of all recipes, without importing one: to list them takes no time."""

from __future__ import annotations

from importlib import metadata

OURS = ("cria", "smol", "draft", "llama", "see")
GROUP = "ayllu.recipes"
"""The entry-point group of packages that bring recipes."""


def recipe_names() -> list[str]:
    """Our recipes, and those of installed packages."""
    installed = [entry.name for entry in metadata.entry_points(group=GROUP)]
    return list(dict.fromkeys([*OURS, *installed]))
