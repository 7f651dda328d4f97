"""What the cleaning did, by source and by rule, with examples: counted here, written for people and for machines."""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3
EXAMPLE_CHARACTERS = 160
UNREAD = 20
"""Names of files that were not read, of each ending; all of them are in sources.json."""


@dataclass
class Effect:
    """What one rule did to one source."""

    documents: int = 0
    bytes: int = 0
    _examples: list[tuple[int, str]] = field(default_factory=list)

    def count(self, example: str, size: int) -> None:
        """Count one more document of `size` UTF-8 bytes."""
        self.documents += 1
        self.bytes += size
        # The three with the smallest checksum: a fair pick that is the same in every run.
        shown = " ".join(example[: 4 * EXAMPLE_CHARACTERS].split())
        shown = shown if len(shown) <= EXAMPLE_CHARACTERS else shown[: EXAMPLE_CHARACTERS - 1] + "…"
        entry = (-zlib.crc32(example.encode("utf-8", "replace")), shown)
        if len(self._examples) < EXAMPLES:
            heapq.heappush(self._examples, entry)
        else:
            heapq.heappushpop(self._examples, entry)

    @property
    def examples(self) -> list[str]:
        """Up to three, shortened."""
        return [text for _, text in sorted(self._examples, reverse=True)]


@dataclass
class Tally:
    """The counts of one source."""

    read: int = 0
    read_bytes: int = 0
    dropped: dict[str, Effect] = field(default_factory=dict)
    changed: dict[str, Effect] = field(default_factory=dict)
    kept: dict[str, list[int]] = field(default_factory=lambda: {"train": [0, 0], "heldout": [0, 0]})
    """Documents and bytes by split."""

    def drop(self, rule: str, text: str) -> None:
        """Count a document that `rule` dropped."""
        self.dropped.setdefault(rule, Effect()).count(text, len(text.encode("utf-8", "replace")))

    def change(self, rule: str, example: str, size: int) -> None:
        """Count a document that `rule` changed."""
        self.changed.setdefault(rule, Effect()).count(example, size)

    def keep(self, split: str, size: int) -> None:
        """Count a document that stays."""
        self.kept[split][0] += 1
        self.kept[split][1] += size

    def as_dict(self) -> dict[str, Any]:
        """For report.json."""
        effects = {
            name: {
                rule: {"documents": effect.documents, "bytes": effect.bytes, "examples": effect.examples}
                for rule, effect in table.items()
            }
            for name, table in (("dropped", self.dropped), ("changed", self.changed))
        }
        kept = {split: {"documents": count, "bytes": size} for split, (count, size) in self.kept.items()}
        return {"read": {"documents": self.read, "bytes": self.read_bytes}, **effects, "kept": kept}


def as_markdown(tallies: dict[str, Tally], sources: list[dict[str, Any]]) -> str:
    """The report for people."""
    lines = ["# What the cleaning did", ""]
    lines += ["| source | read | dropped | changed | train | held out | bytes kept |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, tally in tallies.items():
        dropped = sum(effect.documents for effect in tally.dropped.values())
        changed = sum(effect.documents for effect in tally.changed.values())
        (train, train_bytes), (heldout, heldout_bytes) = tally.kept["train"], tally.kept["heldout"]
        lines.append(
            f"| {name} | {tally.read:,} | {dropped:,} | {changed:,} | {train:,} | {heldout:,} "
            f"| {train_bytes + heldout_bytes:,} |"
        )
    for source in sources:
        if source.get("skipped"):
            lines += ["", f"Left out: {source['name']} ({source['skipped']})"]
        lines += [f"- {source['name']}: {note}" for note in source.get("notes", ())]
        for ending, names in source.get("unread", {}).items():
            listed = ", ".join(names[:UNREAD]) + (f" and {len(names) - UNREAD:,} more" if len(names) > UNREAD else "")
            lines.append(f"- {source['name']}: {len(names):,} {ending} not read: {listed}")
    for name, tally in tallies.items():
        for heading, table in (("dropped", tally.dropped), ("changed", tally.changed)):
            for rule, effect in sorted(table.items(), key=lambda pair: -pair[1].documents):
                share = 100 * effect.documents / max(1, tally.read)
                lines += ["", f"## {name}: {heading} by “{rule}”", ""]
                lines += [f"{effect.documents:,} documents ({share:.2f} %), {effect.bytes:,} bytes, such as", ""]
                lines += [f"> {_escape(example)}\n" for example in effect.examples]
    return "\n".join(lines).rstrip() + "\n"


def _escape(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
