"""Dialogues to finetune an assistant on: everyday questions, small talk, and honest words about itself.

Everything comes out of package archives or is written in this package. Turns go between `user` and `assistant`; a
`system` message opens some.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ayllu.data.archive import Archive, fetch, open_member
from ayllu.data.conversations import questions, smalltalk
from ayllu.data.conversations.questions import Answered
from ayllu.data.sources.everyday import OLMO
from ayllu.lab import progress
from ayllu.lab.error import UserError

CHATTERBOT = Archive(
    registry="pypi",
    name="chatterbot-corpus",
    version="1.3.3",
    filename="chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
    sha256="86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
)

SHARES = {"how-to": 6000, "piqa": 8000, "social-iqa": 3000}
"""Most dialogues of each question set; small talk and greetings are taken whole."""
SMALL_TALK_COPIES = 2
"""How often each exchange of small talk appears, every time typed or introduced in another way."""
HELDOUT_PERCENT = 2.0
CASUAL, WITH_SYSTEM = 0.12, 0.12
"""Shares of dialogues whose user types without capitals and full stops, and that open with a system message."""
JOINED = 0.3
"""Share of questions that get company: a greeting before, thanks after, or another question."""

SYSTEM_MESSAGES = (
    "You are {name}, a helpful assistant.",
    "You are {name}, a small and friendly assistant. Answer in plain English.",
    "You are a helpful assistant.",
    "You are a friendly assistant. Keep your answers short.",
    "Your name is {name}. You answer simple questions.",
    "Answer the user in simple words.",
)

_SOURCES = {
    "how-to": (
        "WikiHow articles of HellaSwag-train, which their writers had given under CC-BY-NC-SA-3.0",
        "MIT (LICENSE of HellaSwag's repository; see the title for the articles' own)",
        OLMO,
    ),
    "piqa": ("PIQA-train: goals and solutions", "AFL-3.0 (README of PIQA's repository)", OLMO),
    "social-iqa": (
        "SocialIQA-train: situations and feelings",
        "CC-BY-4.0 (as it is commonly cited; the archive does not state it)",
        OLMO,
    ),
    "chatterbot": (
        "ChatterBot corpus: greetings, trivia, definitions",
        "BSD-3-Clause (license.md of its repository)",
        CHATTERBOT,
    ),
    "small-talk": ("Small talk written for Ayllu", "Apache-2.0", None),
}
_SCHEMA = pa.schema(
    [
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.string()),
        ("split", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class DialogueSummary:
    """What `build_dialogues` made."""

    dialogues: int
    heldout_dialogues: int
    bytes: int
    """UTF-8 bytes of all messages."""
    sources: list[dict[str, Any]]
    turns: dict[int, int]
    """Dialogues by number of user turns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Dialogue:
    turns: tuple[str, ...]
    """What is said in turn, the user first."""
    source: str
    heldout: bool


class Dialogues:
    """A folder that `build_dialogues` wrote."""

    def __init__(self, folder: Path) -> None:
        """Open the dialogues in `folder`. Raises UserError where there are none."""
        self.folder = Path(folder)
        self._path = self.folder / "dialogues.parquet"
        if not self._path.is_file():
            raise UserError(f"{folder} holds no dialogues (dialogues.parquet is missing): build them with `ayllu run`")

    def dialogues(self, split: str | None = "train", source: str | None = None) -> Iterator[dict[str, Any]]:
        """Stream dialogues, `{"messages": [{"role", "content"}, …], "source": …}`, of a split or of all (None)."""
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    for row in batch.to_pylist():
                        if split in (None, row["split"]) and source in (None, row["source"]):
                            yield {"messages": row["messages"], "source": row["source"]}
        except (pa.ArrowInvalid, pa.ArrowIOError) as error:
            raise UserError(f"{self._path} is damaged ({error}): build the dialogues again") from error

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """Name, licence, archive, dialogues and bytes of each source."""
        return json.loads((self.folder / "sources.json").read_text(encoding="utf-8"))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The counts by source, split and number of turns."""
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))


def build_dialogues(
    folder: Path, cache: Path, *, limit: int | None = None, seed: int = 0, name: str = "Cria"
) -> DialogueSummary:
    """Make the dialogues `everyday-chat` and write them into `folder`, which exists and is empty.

    `limit` is the number of dialogues in all, `seed` chooses and orders them, `name` is what the assistant calls
    itself. Writes dialogues.parquet, sources.json, report.json and report.md. Raises UserError where an archive cannot
    be fetched or the folder cannot be written.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: at least one dialogue is needed")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to write the dialogues into: make it first")
    chance = random.Random(seed)
    chosen = list(progress.track(_all(cache, chance, name), "dialogues", unit="dialogues"))
    chance.shuffle(chosen)
    rows = [_row(dialogue, chance, name) for dialogue in chosen[:limit]]
    try:
        return _write(folder, rows)
    except OSError as error:
        raise UserError(
            f"cannot write into {folder} ({error.strerror or error}): free or choose another disk"
        ) from error


def _all(cache: Path, chance: random.Random, name: str) -> Iterator[_Dialogue]:
    talk = [
        _Dialogue(turns=e.turns, source="small-talk", heldout=_held(" ".join(e.turns)))
        for e in smalltalk.exchanges(name)
    ]
    by_topic = defaultdict(list)
    for exchange, dialogue in zip(smalltalk.exchanges(name), talk, strict=True):
        by_topic[exchange.topic].append(dialogue)
    yield from talk * SMALL_TALK_COPIES
    yield from _chatterbot(cache)
    for source, read in (
        ("how-to", questions.read_how_to),
        ("piqa", questions.read_piqa),
        ("social-iqa", questions.read_social_iqa),
    ):
        # The same questions for every seed; the seed decides what they are joined with.
        answered = list(islice(read(cache), SHARES[source]))
        for heldout in (True, False):
            side = [item for item in answered if _held(item.group) is heldout]
            yield from (_with_company(item, side, source, heldout, by_topic, chance) for item in side)


def _with_company(
    item: Answered,
    side: Sequence[Answered],
    source: str,
    heldout: bool,
    by_topic: dict[str, list[_Dialogue]],
    chance: random.Random,
) -> _Dialogue:
    """A question alone, or with a greeting before it, thanks after it, or another question."""
    turns: tuple[str, ...] = (item.question, item.answer)
    if chance.random() < JOINED:
        match chance.choice(("greeting", "thanks", "both", "another")):
            case "greeting":
                turns = (*_side(by_topic["greetings"], heldout, chance), *turns)
            case "thanks":
                turns = (*turns, *_side(by_topic["thanks"], heldout, chance))
            case "both":
                turns = (
                    *_side(by_topic["greetings"], heldout, chance),
                    *turns,
                    *_side(by_topic["thanks"], heldout, chance),
                )
            case _:
                other = chance.choice(side)
                if other.group != item.group:
                    turns = (*turns, other.question, other.answer)
    return _Dialogue(turns=turns, source=source, heldout=heldout)


def _side(dialogues: list[_Dialogue], heldout: bool, chance: random.Random) -> tuple[str, ...]:
    """The words of a short exchange from the same side of the split, where there is one."""
    fitting = [d for d in dialogues if d.heldout is heldout and len(d.turns) == 2] or dialogues
    return chance.choice(fitting).turns[:2]


def _chatterbot(cache: Path) -> Iterator[_Dialogue]:
    """Greetings, trivia, help with computers and definitions; what the corpus says about itself is left out."""
    import yaml

    path = fetch(CHATTERBOT, cache)
    seen: set[tuple[str, str]] = set()
    for category in ("greetings", "trivia", "tech_support", "computers", "science", "sports"):
        with open_member(path, f"chatterbot_corpus/data/english/{category}.yml") as file:
            conversations = yaml.safe_load(file)["conversations"]
        for conversation in conversations:
            # Further lines are other answers to the first, not turns.
            question, answer = (" ".join(str(line).replace("\xa0", " ").split()) for line in conversation[:2])
            if category in ("science", "sports", "computers") and not _is_definition(question, answer):
                continue
            if _UNFIT.search(question) or _UNFIT.search(answer):
                continue
            pair = _as_question(question), questions.as_sentence(answer)
            if pair not in seen:
                seen.add(pair)
                yield _Dialogue(turns=pair, source="chatterbot", heldout=_held(pair[0]))


_UNFIT = re.compile(r"testicle|absinthe|hitler|nazi|porn|drug|playboy|sex\b|condom|\bmadonna\b", re.IGNORECASE)


def _is_definition(question: str, answer: str) -> bool:
    """Whether a `what is` question gets a definition rather than a remark."""
    remark = re.search(r"\b(?:I|i|i'm|I'm|we|you|your|my|fancy|o is to v|burial|father of)\b", answer)
    return question.lower().startswith(("what is", "who invented")) and len(answer.split()) >= 4 and not remark


def _as_question(text: str) -> str:
    text = text.lower() if text.isupper() else text
    text = text[:1].upper() + text[1:]
    if text.lower().startswith(("what", "who", "which", "how", "when", "where", "in what")) and text[-1] not in "?.!":
        return text + "?"
    return text


def _held(group: str) -> bool:
    """Whether what has this group is held out."""
    return int.from_bytes(blake2b(group.encode(), digest_size=8).digest()) < HELDOUT_PERCENT / 100 * 2**64


def _row(dialogue: _Dialogue, chance: random.Random, name: str) -> dict[str, Any]:
    casual = chance.random() < CASUAL
    messages = []
    if chance.random() < WITH_SYSTEM:
        messages.append({"role": "system", "content": chance.choice(SYSTEM_MESSAGES).format(name=name)})
    for place, text in enumerate(dialogue.turns):
        if place % 2 == 0 and casual:
            text = text.lower().rstrip(".?!") or text
        messages.append({"role": ("user", "assistant")[place % 2], "content": text})
    return {"messages": messages, "source": dialogue.source, "split": "heldout" if dialogue.heldout else "train"}


def _write(folder: Path, rows: list[dict[str, Any]]) -> DialogueSummary:
    target = folder / "dialogues.parquet"
    draft = target.with_name(target.name + ".draft")
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), draft, compression="zstd", row_group_size=4096)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    records = [_record(source, [row for row in rows if row["source"] == source]) for source in _SOURCES]
    turns = Counter(sum(m["role"] == "user" for m in row["messages"]) for row in rows)
    summary = DialogueSummary(
        dialogues=len(rows),
        heldout_dialogues=sum(row["split"] == "heldout" for row in rows),
        bytes=sum(record["bytes"] for record in records),
        sources=records,
        turns=dict(sorted(turns.items())),
    )
    for name, value in (("sources.json", records), ("report.json", asdict(summary))):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_report(summary, rows), encoding="utf-8")
    return summary


def _record(source: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    title, licence, archive = _SOURCES[source]
    return {
        "name": source,
        "title": title,
        "licence": licence,
        "archives": [asdict(archive)] if archive else [],
        "dialogues": len(rows),
        "heldout": sum(row["split"] == "heldout" for row in rows),
        "bytes": sum(len(m["content"].encode()) for row in rows for m in row["messages"]),
    }


def _report(summary: DialogueSummary, rows: list[dict[str, Any]]) -> str:
    lines = ["# Dialogues", "", "| source | licence | dialogues | held out | bytes |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {s['name']}: {s['title']} | {s['licence']} | {s['dialogues']:,} | {s['heldout']:,} | {s['bytes']:,} |"
        for s in summary.sources
    ]
    lines += ["", "User turns: " + ", ".join(f"{count:,} with {n}" for n, count in summary.turns.items()) + "."]
    for source in _SOURCES:
        lines += ["", f"## {source}", ""]
        for row in [row for row in rows if row["source"] == source][:3]:
            lines += [f"> **{m['role']}** {m['content']}  " for m in row["messages"]] + [""]
    return "\n".join(lines).rstrip() + "\n"
