"""The folder for artifacts, and the place in which a recipe runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ayllu.train.distributed.layout import Layout


def find_home(home: Path | str | None) -> Path:
    """The folder for artifacts, absolute: the one that is given, or $AYLLU_HOME, or ~/.local/share/ayllu."""
    from ayllu.lab.store import absolute, default_home

    return absolute(Path(home)) if home else default_home()


def open_place(
    home: Path | str | None,
    *,
    layout: Layout | None = None,
    command: str | None = None,
    title: str | None = None,
    writes: bool = True,
) -> Any:
    from ayllu.data.archive import default_cache
    from ayllu.lab.run import Place
    from ayllu.lab.store import Store

    store, rank = Store(find_home(home), writes=writes), int(os.environ.get("RANK", "0"))
    return Place(store=store, cache=default_cache(), layout=layout, command=command, title=title, rank=rank)
