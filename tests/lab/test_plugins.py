"""Names that packages bring: what is refused says whose it is, and one package may give a name in both ways."""

from __future__ import annotations

from importlib import metadata

import pytest

from ayllu.lab import plugins
from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    """A table for which one package is installed."""
    brought = (metadata.EntryPoint("tides", "mylab.sources:TIDES", "test.sources"),)
    monkeypatch.setattr(plugins, "_entry_points", lambda group, second: brought)
    return Registry("source", "test.sources")


def add(table: Registry[int], module: str) -> None:
    """Give the name in a module of that name."""
    exec("table.add('tides')(1)", {"table": table, "__name__": module})


def test_a_name_that_a_package_brings_is_refused_elsewhere_and_the_package_is_named(tables: Registry[int]) -> None:
    with pytest.raises(UserError, match=r"mylab\.sources:TIDES brings a source 'tides', and so does ours\.sources"):
        add(tables, "ours.sources")


def test_a_module_may_give_a_name_that_its_package_s_entry_point_gives_too(tables: Registry[int]) -> None:
    add(tables, "mylab.sources")
    assert (tables.names(), tables.find("tides")) == (["tides"], 1)
