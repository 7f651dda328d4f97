"""What is wrong with a microphone is told once, and that it is right again too."""

from __future__ import annotations

import numpy as np

from ayllu.device.hear.problems import Problems


def push(problems: Problems, sound: np.ndarray) -> list[str]:
    return [told for at in range(0, len(sound), 700) for told in problems.push(sound[at : at + 700])]


def test_a_dead_or_clipped_microphone_is_told_once_and_its_recovery_too() -> None:
    problems, second = Problems(), 16_000
    noise = np.random.default_rng(0).normal(0, 0.01, 3 * second).astype(np.float32)
    assert push(problems, np.concatenate([noise, np.zeros(5 * second, np.float32), noise])) == []
    (told,) = push(problems, np.zeros(30 * second, np.float32))
    assert "muted" in told
    assert push(problems, noise) == [""]
    clipped = np.clip(noise * 1000, -1, 1)
    (told,) = push(problems, clipped)
    assert "clipped" in told
