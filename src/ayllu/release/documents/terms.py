"""What the licences of all inputs allow together: the duties that come with each, and what is left of freedom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ayllu.release.licences import PERMITTING, PUBLIC_DOMAIN, read_licence

FREE = ("0BSD", "CC0-1.0", "MIT-0", "PDDL-1.0", "Unlicense", PUBLIC_DOMAIN)
"""They ask for nothing."""
SHARE_ALIKE = "CC-BY-SA"
"""How the names of licences begin under which a changed copy of the texts keeps the licence."""


def duties(origins: Mapping[str, Any], permitted: tuple[str, ...] = PERMITTING) -> dict[str, list[str]]:
    """The names of the sources by what their licences ask of those who pass the texts on.

    `origins` is sources.json. `credit` asks to name authors and licence, `alike` to give changed texts under the same
    licence too, `nothing` for neither, and `objection` does not allow a release at all.
    """
    found: dict[str, list[str]] = {"nothing": [], "credit": [], "alike": [], "objection": []}
    for source in (source for kind in ("corpus", "dialogues") for source in origins.get(kind) or []):
        licence = read_licence(str(source.get("licence")), permitted)
        if licence.objection:
            kind = "objection"
        elif any(name.startswith(SHARE_ALIKE) for name in licence.ids):
            kind = "alike"
        else:
            kind = "nothing" if all(name in FREE for name in licence.ids) else "credit"
        found[kind].append(str(source.get("name")))
    return found


def together(origins: Mapping[str, Any], weights_licence: str, permitted: tuple[str, ...]) -> Iterator[str]:
    """Sentences, without a number: what may be done with the weights, and what is owed for the texts."""
    found = duties(origins, permitted)
    yield (
        f"All of them allow copies, changes and commercial use, so that the weights can be given under "
        f"{weights_licence}: use, change, sell and pass them on with that licence and this page."
    )
    if found["credit"]:
        yield f"Whoever passes on the texts of {_listed(found['credit'])} names their authors and licence."
    if found["alike"]:
        yield (
            f"Whoever passes on texts of {_listed(found['alike'])}, changed or not, does so under the same licence. "
            "Weights are taken here not to be such a text; where a court says otherwise, that licence holds for them."
        )
    if found["nothing"]:
        yield f"The texts of {_listed(found['nothing'])} ask for nothing."


def _listed(names: list[str]) -> str:
    quoted = [f"`{name.replace('`', '')}`" for name in dict.fromkeys(names)]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
