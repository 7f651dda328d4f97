"""Tasks with checkers from the package reasoning-gym (Apache-2.0), one generator at a time.

The package pins old versions of libraries that its other generators need, so it is not installed: the pinned archive is
read, and of it the module of one family with the few it builds on. They are this package's only foreign code that is
run from an archive: the archive's digest is checked first, and the families are listed here.

A question belongs to one side, to train on or to measure with, by the digest of its words alone: whatever seed draws
it, and whoever draws it, it is never on both.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import zipimport
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

from ayllu.data.archive import Archive, fetch
from ayllu.lab.error import UserError

REASONING_GYM = Archive(
    registry="pypi",
    name="reasoning-gym",
    version="0.1.25",
    filename="reasoning_gym-0.1.25-py3-none-any.whl",
    sha256="7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435",
)
FAMILIES = {
    "chain_sum": "arithmetic.chain_sum",
    "leg_counting": "arithmetic.leg_counting",
    "products": "arithmetic.products",
    "number_sorting": "algorithmic.number_sorting",
}
"""Families that need nothing but Python, and where they stand in the package."""
HELD_OUT_PARTS = 8
"""One question in so many is held out."""
STRIDE = 1_000_000_007
"""From one seed to the next that is tried for a question of the wanted side: a prime far above the numbers of the items
that any run draws."""
_NAME = "reasoning_gym"
_lock = threading.Lock()


class Family:
    """One family of tasks with its settings: items by seed, and its own scorer."""

    def __init__(self, name: str, cache: Path, settings: Mapping[str, Any] | None = None) -> None:
        """Raises UserError on a family or a setting that there is not."""
        if name not in FAMILIES:
            raise UserError(f"there is no task family {name!r}: choose one of {', '.join(FAMILIES)}")
        create, configuration = _load(FAMILIES[name], fetch(REASONING_GYM, cache), name)
        try:
            # One item for each number that Python's generator may be seeded with.
            self._data = create(configuration(seed=0, size=2**62, **(settings or {})))
        except (TypeError, AssertionError) as error:
            raise UserError(f"task family {name}: {error}; correct its settings") from error
        self.name = name

    def item(self, seed: int, *, held_out: bool = False) -> dict[str, Any]:
        """`question`, `answer` and `metadata` of the item that `seed` draws from one side.

        Raises UserError where the family has hardly a question on that side.
        """
        for at in range(seed, seed + 64 * HELD_OUT_PARTS * STRIDE, STRIDE):
            item = self._data[at]
            if is_held_out(item["question"]) == held_out:
                return item
        side = "held-out" if held_out else "training"
        raise UserError(f"task family {self.name} has no {side} question with these settings; widen the settings")

    def score(self, answer: str | None, item: dict[str, Any]) -> float:
        """1 for a right answer; the family may give less for a nearly right one."""
        return float(self._data.score_answer(answer, item))


def is_held_out(question: str) -> bool:
    """Whether a question is for measuring.

    Its words count and not their order: a sum with its terms in another order is on the same side.
    """
    words = " ".join(sorted(question.split()))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little") % HELD_OUT_PARTS == 0


def distinct_items(family: Family, count: int, *, held_out: bool, seed: int = 0) -> list[dict[str, Any]]:
    """`count` items with different questions from one side. Raises UserError where the family has not that many."""
    start = seed * 10_000_000
    found: dict[str, dict[str, Any]] = {}
    for at in range(start, start + 50 * count + 1000):
        item = family.item(at, held_out=held_out)
        found.setdefault(item["question"], item)
        if len(found) == count:
            return list(found.values())
    raise UserError(
        f"task family {family.name} has only about {len(found)} different questions with these settings; ask for fewer "
        f"than {count} or widen the settings"
    )


def _load(path: str, archive: Path, name: str) -> tuple[Any, Any]:
    """The data set's class and its configuration's, out of the archive."""
    with _lock:
        before = {key: sys.modules.pop(key) for key in list(sys.modules) if re.match(rf"{_NAME}(\.|$)", key)}
        try:
            # Packages without their own code: theirs imports every generator and so every pinned library.
            for package in ("", ".arithmetic", ".algorithmic", ".data"):
                _bare(_NAME + package, archive)
            coaching = _bare(f"{_NAME}.coaching", archive)
            base = _module(f"{_NAME}.coaching.base_curriculum", archive)
            attributes = _module(f"{_NAME}.coaching.attributes", archive)
            for source in (base, attributes):
                coaching.__dict__.update({k: v for k, v in vars(source).items() if not k.startswith("_")})
            sys.modules[_NAME].utils = _module(f"{_NAME}.utils", archive)  # type: ignore[attr-defined]
            _module(f"{_NAME}.{path}", archive)
            return sys.modules[f"{_NAME}.factory"].DATASETS[name]
        finally:
            for key in [key for key in sys.modules if re.match(rf"{_NAME}(\.|$)", key)]:
                del sys.modules[key]
            sys.modules.update(before)


def _bare(name: str, archive: Path) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = [f"{archive}/{name.replace('.', '/')}"]
    sys.modules[name] = module
    return module


def _module(name: str, archive: Path) -> ModuleType:
    """Import one module of the archive; what it imports comes the same way."""
    if name in sys.modules:
        return sys.modules[name]
    parent = name.rpartition(".")[0].replace(".", "/")
    finder = zipimport.zipimporter(f"{archive}/{parent}")
    spec = finder.find_spec(name)
    if spec is None or spec.loader is None:
        raise UserError(f"{archive} holds no {name}: delete it and run again")
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
