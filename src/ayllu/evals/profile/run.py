"""One profile from beginning to end: the items, what they could show, the answers, the figures, the files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ayllu.evals.profile.figures import profile_figures
from ayllu.evals.profile.item import SEED, Mode
from ayllu.evals.profile.kept import kept_under, save_profile
from ayllu.evals.profile.measure import measure
from ayllu.evals.profile.rows import ITEMS as EACH
from ayllu.evals.profile.rows import make_items, profile_digest
from ayllu.evals.profile.subjects.subject import Subject
from ayllu.evals.profile.table import describe_profile_power
from ayllu.lab.error import UserError
from ayllu.lab.progress import say


def run_profile(
    subject: Subject,
    *,
    cache: Path,
    rows: Sequence[str] | None = None,
    each: int | None = None,
    seed: str = SEED,
    modes: Sequence[Mode] | None = None,
    about: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    known_as: str = "",
) -> dict[str, Any]:
    """Measure a subject on the rows of the profile (None: all); the object of profile.json (see `profile_figures`).

    `each` is how many items of every generator and level. With a `folder` the profile and every answer are kept there
    (profile.json, items.jsonl); they are found again by the name `known_as`, too. Raises UserError for a row that there
    is not and a mode that the subject has not.
    """
    items = make_items(rows, each=EACH if each is None else each, seed=seed, pictures=subject.sees)
    chosen = [mode for mode in subject.modes if modes is None or mode in modes]
    if not chosen:
        raise UserError(f"{subject.name} cannot be asked so: it has only the modes {', '.join(subject.modes)}")
    say(*describe_profile_power(items, chosen[0]))
    began = time.monotonic()
    verdicts = measure(subject, items, modes=chosen, cache=cache)
    facts = {
        "subject": subject.name,
        **subject.about,
        "seed": seed,
        "items_digest": profile_digest(items),
        "each": EACH if each is None else each,
        "seconds": round(time.monotonic() - began, 1),
        **(about or {}),
    }
    profile = profile_figures(verdicts, headline=chosen[0], about=facts, weighs=subject.weighs)
    for place in (kept_under(known_as or subject.name, cache), folder):
        if place is not None:
            save_profile(profile, verdicts, place)
    return profile
