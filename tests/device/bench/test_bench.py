"""`ayllu glasses bench`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from ayllu.device.bench.run import Played, report
from ayllu.device.hear.listener import Heard
from ayllu.device.think.mind import Echo

if TYPE_CHECKING:
    from ayllu.device.parts import Parts


def test_a_turn_is_played_through_the_real_chain(parts: Parts) -> None:
    command = [sys.executable, "-m", "ayllu.cli", "glasses", "bench", "--turns", "1", "--model", "none", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    times = found["voice_to_voice_ms"]
    assert 150 < times["p50"] <= times["p95"]
    assert abs(sum(stage["p50"] for stage in times["stages"].values()) - times["p50"]) < 1
    assert found["word_error_rate"] <= 0.2 and found["unanswered"] == 0
    assert found["false_interruptions"] == 0


def test_a_turn_that_is_cut_counts_as_an_interruption_and_its_words_are_joined(parts: Parts) -> None:
    def heard(number: int, text: str, decided: float) -> Heard:
        return Heard(
            number=number, text=text, audio=np.zeros(0, np.float32), start=0, end=0, decided=decided, ready=decided
        )

    played = Played(said="one two three four", ended=10.0, clause=10.5, sound=11.0)
    played.heard = [heard(1, "one two", 9.0), heard(2, "tree four", 10.25)]
    played.finals = {2: "three four"}
    found = report(parts, Echo(), [played])
    assert found["false_interruptions"] == 1 and found["word_error_rate"] == 0.0
    assert found["voice_to_voice_ms"]["p50"] == 1000.0
    assert found["voice_to_voice_ms"]["stages"]["end of turn"]["p50"] == 250.0


def test_no_turns_is_one_sentence() -> None:
    command = [sys.executable, "-m", "ayllu.cli", "glasses", "bench", "--turns", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "at least 1" in done.stderr
