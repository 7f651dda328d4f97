"""What a folder holds whose model takes pictures; read without torch."""

from __future__ import annotations

from pathlib import Path

EYES, PROJECTOR = "eyes.safetensors", "projector.safetensors"
"""Files beside the language model's: the frozen network's published weights, and what was learnt."""


def sees(folder: Path) -> bool:
    """Whether the model in a folder takes pictures."""
    return (folder / PROJECTOR).is_file() and (folder / EYES).is_file()
