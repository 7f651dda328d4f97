"""What the recipe smol learns from, as the release's licences and its description name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GENERATED = (
    {"name": "tool-requests", "title": "Requests for tools, written for Ayllu", "licence": "Apache-2.0"},
    {"name": "small-talk", "title": "Small talk written for Ayllu", "licence": "Apache-2.0"},
    {"name": "reasoning-gym", "title": "Generated sums of reasoning-gym 0.1.25", "licence": "Apache-2.0"},
    {"name": "boolq-passages", "title": "Openings of Wikipedia articles", "licence": "CC-BY-SA-3.0"},
)
"""What the model learns from, as the release's licences name it."""

BESIDE = " + "
"""Between the names of several files of yours that were put into one."""


def unused_sources(methods: tuple[str, ...], *, only_chats: bool) -> tuple[str, ...]:
    """Names of `GENERATED` that nothing is learnt from."""
    made = {"tool-requests", "small-talk"} if only_chats or "sft" not in methods else set()
    found = made if "dpo" not in methods else set()
    found |= {"reasoning-gym"} if "grpo" not in methods else set()
    found |= {"boolq-passages"} if not {"grpo", "sft"} & set(methods) else set()
    return tuple(sorted(found))


def subjects(unused: tuple[str, ...], own: tuple[tuple[str, str, str], ...]) -> str:
    """What the model was taught, in words."""
    if not unused:
        return "sums, to call tools, and some manners"
    words = [("reasoning-gym", "sums"), ("tool-requests", "to call tools, and some manners")]
    found = [said for name, said in words if name not in unused]
    return " and ".join([*found, *(["its maker's own conversations"] if own else [])])


def own_sources(own: tuple[tuple[str, str, str], ...], cache: Path) -> list[dict[str, str]]:
    """Your own files as the release's licences name them: kind, name of the file, licence and digest."""
    from ayllu.data.conversations.chats import name_of_copy

    titles = {"chats": "Conversations", "preferences": "Preferences"}
    return [
        {
            "name": f"own-{kind}",
            "title": f"{titles[kind]} of whoever trained the model ({_file_names(name_of_copy(digest, cache))})",
            "licence": licence,
            "sha256": digest,
        }
        for kind, digest, licence in own
    ]


def _file_names(called: str) -> str:
    return BESIDE.join(Path(part).name for part in called.split(BESIDE))


def safety_sources() -> list[dict[str, Any]]:
    """What a model whose safety is tuned learns from besides."""
    from ayllu.safety.tuning.lessons import sources

    return sources()
