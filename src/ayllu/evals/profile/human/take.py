"""A person takes a row, and their profile over all rows that they took."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.evals.profile.figures import profile_figures
from ayllu.evals.profile.human.serve import HumanServer
from ayllu.evals.profile.human.session import Session, answers_file
from ayllu.evals.profile.item import SEED
from ayllu.evals.profile.kept import save_profile
from ayllu.evals.profile.rows import ROWS, find_row
from ayllu.lab.error import UserError

PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
UNASKED = ("long_term_storage",)
"""Rows that a single sitting cannot ask a person."""


def take_row(
    row: str,
    person: str,
    *,
    folder: Path,
    each: int = 1,
    port: int = 0,
    seed: str = SEED,
    ready: Callable[[str], None],
) -> dict[str, Any]:
    """Serve the items of a row to a person until they stop or are through; their profile over all rows so far.

    Answers are kept in `folder` (ROW.jsonl, one line an answer; profile.json and items.jsonl at the end), so that they
    go on where they stopped. `ready` is told the address. Raises UserError for a row or a name that cannot be.
    """
    if not PERSON.fullmatch(person):
        raise UserError(f"{person!r} cannot name a person here; use letters, digits, - and _, 60 at most")
    found = find_row(row)
    if not found.generators or found.pictures or row in UNASKED:
        raise UserError(f"the row {row} has no items that a person can take in a page: choose another")
    session = Session(row, person, each=each, seed=seed, folder=folder)
    if session.left:
        server = HumanServer(session, port=port)
        try:
            ready(server.address)
            server.wait()
        finally:
            server.close()
    profile = person_profile(person, folder, each=each, seed=seed)
    return profile | {"row": row, "answered": len(session.items) - len(session.left), "items": len(session.items)}


def person_profile(person: str, folder: Path, *, each: int, seed: str) -> dict[str, Any]:
    """The profile of all rows that a person took, saved beside their answers."""
    taken = [name for name in ROWS if answers_file(folder, name, seed).is_file()]
    sessions = [Session(name, person, each=1, seed=seed, folder=folder) for name in taken]
    verdicts = [verdict for session in sessions for verdict in session.verdicts()]
    about = {"subject": person, "kind": "person", "seed": seed, "each": each}
    profile = profile_figures(verdicts, headline="gen", about=about)
    save_profile(profile, verdicts, folder)
    return profile
