"""Execute again what a release's proof holds, part by part, and say of each whether it came out as it was."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayllu.lab import progress
from ayllu.lab.visible import visible
from ayllu.release.gates import LONGEST, Problem
from ayllu.release.proof.answers import (
    Respondent,
    generation_problems,
    likelihood_problems,
    score_problems,
)
from ayllu.release.proof.folder import FOLDER, GATE, beside, open_proof, promised
from ayllu.release.proof.kind import Kind, compare_machines, threads_of
from ayllu.release.proof.lessons import SEED, lessons_problems
from ayllu.release.proof.pipeline import pipeline_problems
from ayllu.release.proof.training import training_problems
from ayllu.release.verify import Verification

PASS, FAIL, NOT = "PASS", "FAIL", "NOT RE-EXECUTED"
RELEASE_FILES = ("items.jsonl", "documents.jsonl")
"""Of the release, which a part says something of; the files of a proof are named with its folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What became of one part."""

    name: str
    word: str
    """PASS, FAIL or NOT RE-EXECUTED."""
    told: str
    """How it was compared, or why it was not."""
    promised: bool = True
    """Whether the signed release says that the proof has it."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        told = visible(self.told, longest=LONGEST)
        return {"part": visible(self.name), "result": self.word, "told": told, "seconds": round(self.seconds, 2)}


@dataclass(frozen=True, kw_only=True)
class ReExecution:
    """What was found."""

    parts: tuple[Part, ...] = ()
    problems: tuple[Problem, ...] = ()
    seed: int = 0
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What this machine is."""

    @property
    def succeeded(self) -> bool:
        """Whether all that the release promised was executed again, and came out as it was."""
        there = [part for part in self.parts if part.promised]
        return not self.problems and bool(there) and all(part.word == PASS for part in there)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "succeeded": self.succeeded,
            "seed": self.seed,
            "machine": dict(self.machine),
            "parts": [part.as_json() for part in self.parts],
            "problems": [{"file": problem.file, "reason": problem.reason} for problem in self.problems],
        }


def re_execute(found: Verification, proof: Path | None = None, *, seed: int | None = None) -> ReExecution:
    """Execute again what the proof of a release holds that verified; `seed` draws which scores are asked again.

    Without `proof` the one beside the release is taken. Nothing is believed of a proof whose digest is
    not the one that the release was signed with.
    """
    from ayllu.train.machine import arithmetic

    seed = secrets.randbelow(1 << 31) if seed is None else seed
    said = promised(found.folder)
    if said is None:
        told = "the release says of no proof: it was built without one"
        return ReExecution(parts=tuple(_not_executed(("generations", "log-likelihoods", "training"), told)), seed=seed)
    names, lacking = _named(said)
    missing = [Part(name=name, word=NOT, told=why, promised=False) for name, why in lacking.items()]
    folder = proof or beside(found.folder)
    if not folder.is_dir():
        told = f"there is no proof in {folder}; give its folder with --proof"
        return ReExecution(parts=(*_not_executed(names, told), *missing), seed=seed)
    facts, problems = open_proof(folder, str(said.get("sha256")), found.model_digest)
    if problems:
        told = "the proof is not the one that the release was signed with"
        return ReExecution(parts=(*_not_executed(names, told), *missing), problems=tuple(problems), seed=seed)
    machine = arithmetic()
    run = _Run(found.folder, folder, facts, machine, seed)
    parts = [run.part(name) for name in progress.track(names, "re-execute", total=len(names), unit="parts")]
    return ReExecution(parts=(*parts, *missing), problems=tuple(run.problems), seed=seed, machine=machine)


def _named(said: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    parts, lacking = said.get("parts"), said.get("lacking")
    names = [str(name) for name in parts] if isinstance(parts, list) else []
    return names, {str(k): str(v) for k, v in lacking.items()} if isinstance(lacking, dict) else {}


def _not_executed(names: Any, told: str) -> Iterator[Part]:
    return (Part(name=name, word=NOT, told=told) for name in names)


class _Run:
    """One execution of a proof."""

    def __init__(
        self, release: Path, folder: Path, facts: Mapping[str, Any], machine: Mapping[str, Any], seed: int
    ) -> None:
        self._release, self._folder, self._facts, self._machine, self._seed = release, folder, facts, machine, seed
        self._asked: Respondent | None = None
        self.problems: list[Problem] = []

    def part(self, name: str) -> Part:
        """Execute one part; whatever its files hold, it ends in a word."""
        began = time.monotonic()
        try:
            told, found = self._work(name)
            reasons = [self._problem(file, reason) for file, reason in found]
        except Exception as error:
            # A proof comes from strangers as the release does: any field may hold anything.
            told = f"its files hold something unexpected ({type(error).__name__}: {' '.join(str(error).split())})"
            reasons = [self._problem("proof.json", f"cannot be executed: {name}: {told}")]
        self.problems += reasons
        word = FAIL if reasons else PASS
        told = str(reasons[0]) if reasons else told
        return Part(name=name, word=word, told=told, seconds=time.monotonic() - began)

    def _problem(self, file: str, reason: str) -> Problem:
        named = file in RELEASE_FILES or file.startswith(f"{FOLDER}/")
        return Problem(file=file if named else f"{FOLDER}/{file}", reason=reason, gate=GATE)

    def _work(self, name: str) -> tuple[str, list[tuple[str, str]]]:
        """How the part is compared, and what does not come out again."""
        from ayllu.text.tokenizer import Tokenizer

        entry = self._facts["parts"][name]
        if name == "data pipeline":
            problems = lessons_problems if SEED in entry else pipeline_problems
            return "equal", list(problems(self._folder, entry, Tokenizer.load(self._release)))
        kind = self._kind(name, entry)
        works: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
            "generations": lambda: generation_problems(self._folder, self._respondent(entry), kind),
            "log-likelihoods": lambda: likelihood_problems(self._folder, self._respondent(entry), kind),
            "scores": lambda: score_problems(self._release, self._folder, self._respondent(entry), seed=self._seed),
        }
        with threads_of(entry["machine"]):
            if name in works:
                told = "within the rounding of what they were measured in" if name == "scores" else kind.told
                return told, list(works[name]())
            if name != f"training {entry['name']}":
                raise ValueError(f"there is no part {name!r} here")
            self._asked = None  # two models and a state may not fit beside it
            return kind.told, list(training_problems(self._release, self._folder, entry, kind))

    def _kind(self, name: str, entry: Mapping[str, Any]) -> Kind:
        from ayllu.train.machine import compiler_available

        compiled = bool(entry.get("compiled")) and not compiler_available()
        return compare_machines(entry["machine"], self._machine, compiled=compiled)

    def _respondent(self, entry: Mapping[str, Any]) -> Respondent:
        from ayllu.evals.dtype import torch_dtype
        from ayllu.model.files import hf
        from ayllu.text.tokenizer import Tokenizer

        dtype = torch_dtype(entry["dtype"])
        if self._asked is None or self._asked.dtype != dtype:
            model = hf.load(self._release, dtype=dtype).eval()
            self._asked = Respondent(model=model, tokenizer=Tokenizer.load(self._release), dtype=dtype)
        return self._asked
