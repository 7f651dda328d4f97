"""What is said of documents one by one, on all cores: repair, language, rules, and what tells two of them apart.

Processes are started by a command and spoken to in lines of JSON, since those of `multiprocessing` import the user's
own script again. The order of the documents stays, so the corpus does not depend on the number of cores.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import IO, Any

import numpy as np

from ayllu.data.cleaning import dedup
from ayllu.data.cleaning.quality import CleanRules, broken_rule, language_and_rule
from ayllu.data.cleaning.tidy import tidy
from ayllu.data.document import Document
from ayllu.lab.error import UserError

ALONE = 256
"""Documents that are judged here before other processes are started: few are done before those have begun."""
BATCH_CHARACTERS = 1 << 16
"""Text that a process is given at a time, and at least one document."""
AHEAD = 3
"""Batches for each process that are read ahead."""
WORKER = "from ayllu.data.cleaning.judge import work; work()"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one document is, and which rule drops it."""

    text: str
    """Repaired."""
    broken: str | None = None
    """The rule that it breaks."""
    language: str = ""
    """What it is in, where that is not wanted."""
    undecodable: str = ""
    """The text with the characters that could not be decoded, where those were few and taken out."""
    digest: bytes = b""
    """Of `dedup.digest`, where no rule is broken; so is the next."""
    signature: bytes = b""
    """The MinHash values, uint32."""


class Judge:
    """Judges documents by `rules`; `seconds` has the time of each step, over all processes."""

    def __init__(self, rules: CleanRules) -> None:
        self.rules = rules
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._language = language_and_rule(rules)

    def all(self, documents: Iterable[Document], *, processes: int | None = None) -> Iterator[tuple[Document, Verdict]]:
        """Each document with its verdict, in order, on all cores unless `processes` says how many help.

        Raises UserError when one of them is killed.
        """
        documents = iter(documents)
        for document in islice(documents, ALONE):
            yield document, self(document.text)
        count = cores() - 1 if processes is None else processes
        first = next(documents, None)
        if first is None:
            return
        documents = chain([first], documents)
        if count < 1:
            yield from ((document, self(document.text)) for document in documents)
            return
        yield from _Helpers(self, count).all(documents)

    def __call__(self, text: str) -> Verdict:
        """What is said of one document."""
        original = text
        with self._timed("repair"):
            text = tidy(text)
        undecodable = ""
        if "\ufffd" in text:
            if text.count("\ufffd") > self.rules.replaced_max * len(text):
                return Verdict(text, "undecodable")
            undecodable, text = text, text.replace("\ufffd", "")
        if not text:
            return Verdict(original, "empty", undecodable=undecodable)
        with self._timed("language"):
            broken, language = self._language(text)
        if broken is None:
            with self._timed("quality"):
                broken = broken_rule(text, self.rules, language)
            language = None
        if broken is not None:
            return Verdict(text, broken, language or "", undecodable)
        with self._timed("signatures"):
            digest, signature = dedup.digest(text), dedup.signature(text).tobytes()
        return Verdict(text, None, "", undecodable, digest, signature)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - start


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def signature_of(verdict: Verdict) -> np.ndarray:
    """The MinHash values as `dedup.signature` gives them."""
    return np.frombuffer(verdict.signature, dtype=np.uint32)


class _Helpers:
    """Processes that judge batches; a thread each writes a batch and reads its verdicts."""

    def __init__(self, judge: Judge, count: int) -> None:
        self._judge, self._count = judge, count
        self._idle: deque[subprocess.Popen[str]] = deque()

    def all(self, documents: Iterator[Document]) -> Iterator[tuple[Document, Verdict]]:
        processes = [_start(self._judge.rules) for _ in range(self._count)]
        self._idle.extend(processes)
        ahead: deque[tuple[list[Document], Future[dict[str, Any]]]] = deque()
        try:
            with ThreadPoolExecutor(self._count, thread_name_prefix="judge") as threads:
                for batch in _batches(documents):
                    ahead.append((batch, threads.submit(self._ask, batch)))
                    if len(ahead) > AHEAD * self._count:
                        yield from self._done(*ahead.popleft())
                while ahead:
                    yield from self._done(*ahead.popleft())
        finally:
            for process in processes:
                process.kill()
                process.communicate()

    def _ask(self, batch: list[Document]) -> dict[str, Any]:
        process = self._idle.popleft()  # as many processes as threads, so there is one
        assert process.stdin and process.stdout
        try:
            _say(process.stdin, [document.text for document in batch])
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        if not line:
            raise UserError(
                f"a process of the cleaning has ended (code {process.wait()}); free memory and run it again"
            )
        self._idle.append(process)
        return json.loads(line)

    def _done(self, batch: list[Document], asked: Future[dict[str, Any]]) -> Iterator[tuple[Document, Verdict]]:
        answer = asked.result()
        for step, seconds in answer["seconds"].items():
            self._judge.seconds[step] += seconds
        return zip(batch, map(_from_json, answer["verdicts"]), strict=True)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _start(rules: CleanRules) -> subprocess.Popen[str]:
    # As this process finds its modules, wherever they lie; -P, for a file of the current folder is none of them.
    command = [sys.executable, "-P", "-c", WORKER]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii", env=environment
    )
    assert process.stdin
    _say(process.stdin, asdict(rules))
    return process


def work() -> None:
    """What a process does: rules on the first line of stdin, then lists of texts, until there are no more."""
    try:
        judge = Judge(rules_from_json(json.loads(sys.stdin.readline())))
        for line in sys.stdin:
            judge.seconds.clear()
            verdicts = [_to_json(judge(text)) for text in json.loads(line)]
            _say(sys.stdout, {"verdicts": verdicts, "seconds": judge.seconds})
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the one that asked was told too, or is gone


def _say(stream: IO[str], value: Any) -> None:
    stream.write(json.dumps(value) + "\n")
    stream.flush()


def rules_from_json(told: Mapping[str, Any]) -> CleanRules:
    """The rules as JSON tells them, whose tuples came as lists. Raises TypeError for unknown ones."""

    def with_tuples(value: Any) -> Any:
        return tuple(map(with_tuples, value)) if isinstance(value, list) else value

    return CleanRules(**{name: with_tuples(value) for name, value in told.items()})


def _to_json(verdict: Verdict) -> list[str | None]:
    # Base64 rather than numbers: half the size, and nothing to parse.
    coded = [base64.b64encode(value).decode() for value in (verdict.digest, verdict.signature)]
    return [verdict.text, verdict.broken, verdict.language, verdict.undecodable, *coded]


def _from_json(told: Sequence[Any]) -> Verdict:
    return Verdict(*told[:4], *map(base64.b64decode, told[4:]))
