"""The real models, loaded once for all tests of the room."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ayllu.data.archive import default_cache
from support.parts import need, need_module

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


@pytest.fixture(scope="session")
def parts() -> Iterator[Parts]:
    need_module("onnxruntime", "the models of the glasses run in onnxruntime")
    need_module("ctranslate2", "the second recogniser runs in ctranslate2")
    need(shutil.which("espeak-ng"), "espeak-ng gives the voice its phonemes")
    from ayllu.device.parts import load_parts
    from ayllu.device.speak.piper import Piper

    # Else now and then a sentence is drawn that no recogniser would understand.
    parts = dataclasses.replace(load_parts(default_cache()), voice=Piper(default_cache(), threads=1, steady=True))
    yield parts
    parts.close()
