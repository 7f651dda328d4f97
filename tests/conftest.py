"""What all rooms' tests share: no test writes to the user's folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# No test asserts a time, those with drawn examples neither.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
# Programs that tests start find `support` as the tests themselves do.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Artifacts and keys go to a temporary home; downloads stay in the user's cache."""
    os.environ["AYLLU_HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ.setdefault("AYLLU_CACHE", str(Path.home() / ".cache" / "ayllu"))


@pytest.fixture(scope="session")
def english_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real English, a paragraph a file: the Python reference that comes with the interpreter."""
    from pydoc_data.topics import topics

    folder = tmp_path_factory.mktemp("texts")
    for name, text in topics.items():
        for number, paragraph in enumerate(text.split("\n\n")):
            if len(paragraph) > 300:
                (folder / f"{name}-{number}.txt".replace("/", "_")).write_text(paragraph, encoding="utf-8")
    return folder
