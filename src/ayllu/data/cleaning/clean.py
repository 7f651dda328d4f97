"""From sources to a corpus: read, repair, judge, remove duplicates, mask, split, and say what was done.

The order is fixed: bytes to text, Unicode repair, spaces, language, Gopher quality, Gopher repetition, FineWeb,
exact duplicates, near duplicates, personal data, held-out split.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ayllu.data.cleaning import dedup, pii
from ayllu.data.cleaning.heldout import choose_heldout
from ayllu.data.cleaning.judge import Judge, Verdict, signature_of
from ayllu.data.cleaning.options import loosened_by
from ayllu.data.cleaning.quality import CleanRules
from ayllu.data.cleaning.report import Tally, as_markdown
from ayllu.data.corpus import DocumentWriter, read_document_rows
from ayllu.data.document import Document, Source
from ayllu.data.sources.local import count_unread
from ayllu.data.sources.registry import find_source
from ayllu.lab import progress
from ayllu.lab.error import UserError


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """What `build_corpus` made."""

    documents: int
    bytes: int
    """UTF-8 bytes of all documents."""
    heldout_documents: int
    heldout_bytes: int
    sources: list[dict[str, Any]]
    """As in sources.json."""
    dropped: dict[str, int]
    """Documents by the rule that dropped them, over all sources."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time by stage of the cleaning. Not in the corpus's files, which are the same for the same input."""


def build_corpus(
    sources: Sequence[str],
    folder: Path,
    cache: Path,
    *,
    rules: CleanRules | None = None,
    heldout_percent: float = 1.0,
    limit: int | None = None,
    licence: str | None = None,
) -> CorpusSummary:
    """Read `sources`, clean them, and write a corpus into `folder`, which exists and is empty.

    `heldout_percent` of each source's documents, chosen by hash, are marked `heldout`. `limit` is the number of
    documents taken from each source, `licence` that of folders and hub data sets (see `find_source`). Writes
    documents.parquet, sources.json, report.json and report.md. Raises UserError where a source is unknown or cannot be
    read, nothing is left, or the folder cannot be written.
    """
    if not sources:
        raise UserError("no source was named: name at least one, such as everyday-english")
    if len(set(sources)) != len(sources):
        raise UserError(f"a source is named twice ({', '.join(sources)}): name each once")
    if not 0 < heldout_percent < 100:
        raise UserError(f"heldout_percent is {heldout_percent}: it must lie between 0 and 100")
    found = [find_source(name, licence=licence) for name in sources]
    if len({source.name for source in found}) != len(found):
        names = ", ".join(source.name for source in found)
        raise UserError(f"two sources have one name ({names}): rename a folder")
    try:
        return _CorpusBuild(folder, cache, rules or CleanRules(), heldout_percent, limit).run(found)
    except OSError as error:
        raise UserError(
            f"cannot write the corpus into {folder} ({error.strerror or error}): free or choose another disk"
        ) from error


class _NotRead(Exception):
    """A source that may be absent is."""


class _CorpusBuild:
    """A corpus being built: the first pass judges documents one by one, the second removes duplicates and splits."""

    def __init__(self, folder: Path, cache: Path, rules: CleanRules, heldout_percent: float, limit: int | None) -> None:
        self.folder, self.cache, self.rules = folder, cache, rules
        self.heldout_percent, self.limit = heldout_percent, limit
        self.draft = folder / "cleaned.parquet.draft"
        self.tallies: dict[str, Tally] = {}
        self.records: list[dict[str, Any]] = []
        self._judge = Judge(rules)
        self.seconds = self._judge.seconds
        self._others: Counter[str] = Counter()
        self._digests: set[bytes] = set()
        self._signatures: list[np.ndarray] = []
        self._keys: list[int] = []
        self._names: list[str] = []
        self._sizes: list[int] = []

    def run(self, sources: list[Source]) -> CorpusSummary:
        try:
            with DocumentWriter(self.draft, last_column="group") as writer:
                for source in sources:
                    self._take(source, writer)
            if not self._keys:
                raise UserError(self._why_empty())
            with self._timed("near duplicates"):
                keep, heldout = self._decide()
            self._write(keep, heldout)
        finally:
            self.draft.unlink(missing_ok=True)
        return self._finish()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def _take(self, source: Source, writer: DocumentWriter) -> None:
        """Judge every document of one source; those that pass go to the draft."""
        record = _record(source)
        self.records.append(record)
        tally = Tally()
        with progress.bar(f"clean {source.name}", unit="documents") as meter:
            try:
                for document, verdict in self._judge.all(self._read(source, tally)):
                    self._add(document, verdict, tally, writer)
                    meter.advance()
            except _NotRead as left_out:
                progress.say(f"leaving out {source.name}: {left_out}")
                record["skipped"] = str(left_out)
                return
        self.tallies[source.name] = tally
        record["notes"] = list(source.notes)
        if source.unread:
            record["unread"] = {ending: list(names) for ending, names in sorted(source.unread.items())}
            progress.say(f"{source.name}: {count_unread(source.unread)}")

    def _read(self, source: Source, tally: Tally) -> Iterator[Document]:
        """The source's documents, counted; `_NotRead` where one that may be absent gives none."""
        documents = islice(source.read(self.cache), self.limit)
        while True:
            try:
                with self._timed("read"):
                    document = next(documents, None)
            except UserError as error:
                if source.required or tally.read:
                    raise
                raise _NotRead(str(error)) from error
            if document is None:
                return
            tally.read += 1
            tally.read_bytes += len(document.text.encode("utf-8", "replace"))
            yield document

    def _add(self, document: Document, verdict: Verdict, tally: Tally, writer: DocumentWriter) -> None:
        """Take a document over into the draft, or count why not."""
        text = verdict.text
        if verdict.undecodable:
            tally.change("undecodable characters taken out", verdict.undecodable, len(verdict.undecodable.encode()))
        if verdict.language:
            self._others[verdict.language] += 1
        if verdict.broken is not None:
            return tally.drop(verdict.broken, text)
        if verdict.digest in self._digests:
            return tally.drop("exact duplicate", text)
        self._digests.add(verdict.digest)
        self._signatures.append(signature_of(verdict))
        self._keys.append(dedup.split_key(document.source, document.group, text))
        self._names.append(document.source)
        self._sizes.append(len(text.encode()))
        writer.add(text, document.source, document.id, document.group)
        return None

    def _decide(self) -> tuple[np.ndarray, np.ndarray]:
        """For each document of the draft, whether it stays and whether it is held out."""
        same, alike = dedup.near_duplicates(np.stack(self._signatures), self.rules.near_duplicate_jaccard)
        count = len(self._keys)
        first_of_group: dict[int, int] = {}
        for index, key in enumerate(self._keys):
            alike.join(index, first_of_group.setdefault(key, index))
        keep = np.array([same.root(index) == index for index in range(count)])
        keys = np.array([self._keys[alike.root(index)] for index in range(count)], dtype=np.uint64)
        names, sizes = np.array(self._names), np.array(self._sizes)
        heldout = np.zeros(count, dtype=bool)
        for record in self.records:
            own = np.flatnonzero(keep & (names == record["name"]))
            heldout[own], cut = choose_heldout(keys[own], sizes[own], self.heldout_percent)
            if cut:
                self._note(
                    record, f"one text or family of texts is most of it, so {cut:,} documents of its end are held out"
                )
            elif len(own) and not heldout[own].any():
                self._note(record, f"nothing is held out: a tenth of {len(own):,} documents is less than one of them")
        return keep, heldout

    def _note(self, record: dict[str, Any], note: str) -> None:
        """Say something of a source in the terminal and in the report."""
        progress.say(f"{record['name']}: {note}")
        record.setdefault("notes", []).append(note)

    def _write(self, keep: np.ndarray, heldout: np.ndarray) -> None:
        """Copy what stays from the draft, masked, into documents.parquet."""
        target = self.folder / "documents.parquet"
        draft = target.with_name(target.name + ".draft")
        with (
            DocumentWriter(draft, last_column="split") as writer,
            progress.bar("write the corpus", total=len(keep), unit="documents") as meter,
        ):
            for index, (text, source, id_, _) in enumerate(read_document_rows(self.draft)):
                meter.advance()
                tally = self.tallies[source]
                if not keep[index]:
                    tally.drop("near duplicate", text)
                    continue
                if self.rules.mask_personal_data:
                    with self._timed("personal data"):
                        text = self._mask(text, tally)
                split = "heldout" if heldout[index] else "train"
                tally.keep(split, len(text.encode()))
                writer.add(text, source, id_, split)
        draft.replace(target)

    def _mask(self, text: str, tally: Tally) -> str:
        masked, found = pii.mask(text)
        for mark in {mark for mark, _ in found}:
            # The report shows the place, not the person.
            start = max(0, masked.index(mark) - 80)
            tally.change(
                f"masked {mark}", masked[start : start + 160], sum(len(hit.encode()) for m, hit in found if m == mark)
            )
        return masked

    def _finish(self) -> CorpusSummary:
        for record in self.records:
            kept = self.tallies[record["name"]].kept if record["name"] in self.tallies else {}
            record["documents"] = sum(count for count, _ in kept.values())
            record["bytes"] = sum(size for _, size in kept.values())
        report = {
            "rules": asdict(self.rules),
            "heldout_percent": self.heldout_percent,
            "limit": self.limit,
            "sources": {name: tally.as_dict() for name, tally in self.tallies.items()},
        }
        _write_json(self.folder / "report.json", report)
        _write_json(self.folder / "sources.json", self.records)
        (self.folder / "report.md").write_text(as_markdown(self.tallies, self.records), encoding="utf-8")
        heldout = [tally.kept["heldout"] for tally in self.tallies.values()]
        return CorpusSummary(
            documents=sum(r["documents"] for r in self.records),
            bytes=sum(r["bytes"] for r in self.records),
            heldout_documents=sum(count for count, _ in heldout),
            heldout_bytes=sum(size for _, size in heldout),
            sources=self.records,
            dropped=dict(self._dropped()),
            seconds={stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
        )

    def _dropped(self) -> Counter[str]:
        dropped: Counter[str] = Counter()
        for tally in self.tallies.values():
            dropped.update({rule: effect.documents for rule, effect in tally.dropped.items()})
        return dropped

    def _why_empty(self) -> str:
        names = ", ".join(record["name"] for record in self.records)
        read = sum(tally.read for tally in self.tallies.values())
        if not read:
            return f"the corpus is empty: {names} gave no document; check that the sources hold text"
        rule, count = self._dropped().most_common(1)[0]
        told = f", mostly {self._others.most_common(1)[0][0]}" if rule == "other language" and self._others else ""
        return (
            f"the corpus is empty: of {read:,} documents in {names} the rule “{rule}” dropped most ({count:,}{told}); "
            f"loosen it with {loosened_by(rule)}, or choose other sources"
        )


def _record(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "title": source.title,
        "licence": source.licence,
        "description": source.description,
        "archives": [asdict(archive) for archive in source.archives],
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
