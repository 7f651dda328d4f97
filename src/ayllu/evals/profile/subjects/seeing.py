"""Our own weights with eyes: pictures are looked at, everything else is answered as by weights alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import default_cache
from ayllu.data.scenes.picture import draw_picture
from ayllu.data.scenes.scene import read_scene
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.profile.subjects.subject import Ranked, Replied
from ayllu.evals.profile.subjects.weights import WeightsSubject
from ayllu.model.sight.files import EYES, PROJECTOR

if TYPE_CHECKING:
    from ayllu.evals.sight.seer import Seer


class SeeingSubject(WeightsSubject):
    """Questions about pictures are asked in the chat format, whose answers are ranked there too."""

    sees = True

    def __init__(self, name: str, seer: Seer, folder: Path, **options: Any) -> None:
        """`folder` holds the eyes; the options are those of `WeightsSubject`."""
        super().__init__(name, seer.model, seer.tokenizer, **options)
        self._seer = seer
        files = b"".join((folder / file).read_bytes() for file in (EYES, PROJECTOR))
        self.owner = {**self.owner, "eyes": hashlib.sha256(files).hexdigest()[:16]}

    def rank(self, items: Sequence[ProfileItem]) -> Iterator[Ranked]:
        for number, item in _with_pictures(items):
            picture = self._seer.view(draw_picture(read_scene(item.scene), default_cache()))
            yield number, self._seer.weigh(picture, item.question, item.choices or (item.answer,))
        numbers, plain = _without(items)
        yield from ((numbers[number], values) for number, values in super().rank(plain))

    def generate(self, items: Sequence[ProfileItem]) -> Iterator[Replied]:
        for number, item in _with_pictures(items):
            picture = self._seer.view(draw_picture(read_scene(item.scene), default_cache()))
            (answer,) = self._seer.answer(picture, [item.question])
            yield number, answer, ""
        numbers, plain = _without(items)
        yield from ((numbers[number], reply, refused) for number, reply, refused in super().generate(plain))


def _with_pictures(items: Sequence[ProfileItem]) -> list[tuple[int, ProfileItem]]:
    return [(number, item) for number, item in enumerate(items) if item.scene]


def _without(items: Sequence[ProfileItem]) -> tuple[list[int], list[ProfileItem]]:
    numbers = [number for number, item in enumerate(items) if not item.scene]
    return numbers, [items[number] for number in numbers]
