"""Judging on several cores: the corpus is that of one core, and a process that is killed is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.data.cleaning import judge
from ayllu.data.cleaning.clean import build_corpus
from ayllu.data.cleaning.judge import Judge
from ayllu.data.cleaning.quality import CleanRules
from ayllu.data.document import Document
from ayllu.lab.error import UserError

GOOD = "The committee of the town met in the evening and spoke about the old bridge for more than {} hours."
TEXTS = [
    *(GOOD.format(number) for number in range(60)),
    GOOD.format(7).upper(),
    "Ceci est un texte en français, qui ne doit pas rester dans un corpus de langue anglaise, bien entendu.",
    "too short",
    "   ",
    "A few bytes of this were lost, but what is left can be read by the people of the village: \ufffd and so on. " * 3,
    "\ufffd" * 40,
]


def documents() -> Iterator[Document]:
    for number, text in enumerate(TEXTS):
        yield Document(text=text, source="town", id=str(number))


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes help from the fifth document on, a few documents at a time."""
    monkeypatch.setattr(judge, "ALONE", 4)
    monkeypatch.setattr(judge, "BATCH_CHARACTERS", 300)


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.usefixtures("early")
def test_the_verdicts_are_those_of_one_core(processes: int) -> None:
    rules = CleanRules(top_ngrams_max=((2, 0.5),))
    alone = [verdict for _, verdict in Judge(rules).all(documents(), processes=0)]
    helped = Judge(rules)
    together = list(helped.all(documents(), processes=processes))
    assert [document.text for document, _ in together] == TEXTS
    assert [verdict for _, verdict in together] == alone
    assert {"other language", "empty", "undecodable", None} <= {verdict.broken for verdict in alone}
    assert set(helped.seconds) == {"repair", "language", "quality", "signatures"}


@pytest.mark.usefixtures("early")
def test_a_corpus_does_not_depend_on_the_number_of_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "town").mkdir()
    for number, text in enumerate(TEXTS[:-1]):  # a file of nothing but lost characters is refused
        (tmp_path / "town" / f"{number:03}.txt").write_text(text, encoding="utf-8")
    made = []
    for cores in (1, 3):
        monkeypatch.setattr(judge, "cores", lambda cores=cores: cores)
        (folder := tmp_path / f"on-{cores}").mkdir()
        build_corpus([f"folder:{tmp_path / 'town'}"], folder, tmp_path)
        made.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert made[0].keys() == {"documents.parquet", "sources.json", "report.json", "report.md"}
    assert made[0] == made[1]


@pytest.mark.usefixtures("early")
def test_a_process_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    started = _watch(monkeypatch)
    with pytest.raises(UserError, match=r"a process of the cleaning has ended \(code -9\); free memory"):
        for number, _ in enumerate(Judge(CleanRules()).all(documents(), processes=1)):
            if number == 5:
                os.kill(started[0].pid, signal.SIGKILL)
                started[0].wait()
    assert started[0].returncode == -9


@pytest.mark.usefixtures("early")
def test_who_stops_in_the_middle_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started = _watch(monkeypatch)
    judged = Judge(CleanRules()).all(documents(), processes=2)
    for _ in range(6):
        next(judged)
    judged.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 20
    while any(process.poll() is None for process in started) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    started: list[subprocess.Popen[str]] = []
    start = judge._start

    def watched(rules: CleanRules) -> subprocess.Popen[str]:
        started.append(start(rules))
        return started[-1]

    monkeypatch.setattr(judge, "_start", watched)
    return started
