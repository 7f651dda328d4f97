"""What a bar says of the time that is left: nothing before it can know, and then by the pace since the first units."""

from __future__ import annotations

import re

import pytest

from ayllu.lab import progress
from ayllu.lab.progress import bar


def test_the_first_item_says_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the slow one: what is loaded and compiled for all of them counts in it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    items = bar("work", total=100, shown=False)
    assert "left" not in items.line()
    now[0] = 300.0
    items.advance()
    assert "left" not in items.line()
    now[0] = 302.0
    items.advance()
    assert re.search(r"03:16 left", items.line()), "98 more at two seconds each"
    items.advance(98)
    assert "left" not in items.line()


def test_what_was_there_before_counts_in_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    steps = bar("train", total=100, shown=False)
    steps.begin_at(50)
    for now[0] in (10.0, 11.0, 12.0):
        steps.advance()
    assert "00:47 left" in steps.line()
