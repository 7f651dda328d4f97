"""Between English, Portuguese and Spanish: which ways there are, and what goes by way of Portuguese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ayllu.device.models import BERGAMOT
from ayllu.device.translate.apertium import Apertium
from ayllu.device.translate.bergamot import Bergamot
from ayllu.lab.error import UserError

LANGUAGES = {"en": "English", "pt": "Portuguese", "es": "Spanish"}
WAYS = {
    ("en", "pt"): ("enpt",),
    ("pt", "en"): ("pten",),
    ("pt", "es"): ("pt-es",),
    ("es", "pt"): ("es-pt_BR",),
    ("en", "es"): ("enpt", "pt-es"),
    ("es", "en"): ("es-pt_BR", "pten"),
}
"""By source and target, what a sentence passes through: no package has a network between English and Spanish."""
SENTENCE = re.compile(r"(?<=[.!?…])\s+")


class Direction(Protocol):
    """Translates sentences."""

    name: str

    def sentence(self, text: str) -> str:
        """One sentence in the other language."""
        ...


class Translator:
    """From `source` to `target`."""

    def __init__(self, source: str, target: str, cache: Path) -> None:
        """Raises UserError where a part cannot be had."""
        self.source, self.target = source, target
        self._through: Sequence[Direction] = [
            Bergamot(BERGAMOT[name], cache) if name in BERGAMOT else Apertium(name) for name in WAYS[source, target]
        ]
        self.name = " and ".join(one.name for one in self._through)

    def translate(self, text: str) -> str:
        """A text, sentence by sentence."""
        return " ".join(self._sentence(one) for one in SENTENCE.split(text.strip()) if one)

    def _sentence(self, text: str) -> str:
        for one in self._through:
            text = one.sentence(text)
        return text


def languages(asked: str) -> tuple[str, str]:
    """The two languages of an option such as en-pt. Raises UserError."""
    source, _, target = asked.partition("-")
    if (source, target) not in WAYS:
        told = ", ".join("-".join(way) for way in WAYS)
        raise UserError(f"there is no translation {asked[:40]!r} here; there are {told}")
    return source, target
