from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.serve.engines.memory import machine_memory, parallel_answers


def test_a_container_has_what_it_may_have(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    assert machine_memory(limit) == 1 << 20
    limit.write_text("max\n")
    assert machine_memory(limit) == machine_memory(tmp_path / "missing") > 1 << 20


@pytest.mark.parametrize(("bytes_each", "answers"), [(1, 8), (100, 5), (10_000, 2)])
def test_as_many_answers_as_fit_and_never_one_alone(bytes_each: int, answers: int) -> None:
    assert parallel_answers(8, bytes_each=bytes_each, memory=1000, share=2) == answers
