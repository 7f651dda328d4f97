"""The folder for artifacts, and the place in which a recipe runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ayllu.lab.team.shared import Team
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
    team: str | None = None,
) -> Any:
    """Where a recipe runs; `team` is the address of a store that is shared, $AYLLU_TEAM when not given."""
    from ayllu.data.archive import default_cache
    from ayllu.lab.run import Place
    from ayllu.lab.store import Store

    store, rank = Store(find_home(home), writes=writes), int(os.environ.get("RANK", "0"))
    shared = find_team(team) if writes else None
    return Place(
        store=store, cache=default_cache(), layout=layout, command=command, title=title, rank=rank, team=shared
    )


def find_team(team: str | None) -> Team | None:
    """The store that is shared with others, at the address `team` or $AYLLU_TEAM; None where neither is given."""
    from ayllu.lab.team.objects import open_objects
    from ayllu.lab.team.shared import Team

    url = team or os.environ.get("AYLLU_TEAM")
    return Team(open_objects(url)) if url else None
