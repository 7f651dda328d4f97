"""Runs under way and ended: one small record for each in `home/jobs`, whose lock dies with the process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ayllu.lab.error import Stopped, UserError
from ayllu.lab.integrity import regular_text
from ayllu.lab.progress import written_down
from ayllu.lab.store import Store, write_atomically
from ayllu.lab.visible import visible

RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"


def now() -> str:
    """The time in UTC, to the second, as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def folder_of(store: Store) -> Path:
    """Where the records of runs are."""
    return store.home / "jobs"


@contextlib.contextmanager
def using(store: Store, *, alone: bool = False) -> Iterator[None]:
    """Hold the store's results where they are, for moments: many may take them up at once, who removes some is alone.

    A home that cannot be written to is not held: nobody can remove anything there.
    """
    path = folder_of(store) / "using.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError:
        yield
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def held(lock: Path) -> bool:
    """Whether a live process holds the lock file."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def state_of(error: BaseException | None) -> str:
    """How work ended that `error` left."""
    if error is None:
        return FINISHED
    return INTERRUPTED if isinstance(error, Stopped | KeyboardInterrupt | SystemExit) else FAILED


def told(error: BaseException) -> str:
    """An error for a record: a sentence of ours as it is, others with their kind."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


class Job:
    """One run of a recipe in this process: which results it has taken up and made, what it said, and how it ended.

    What it has taken up is needed, so that nothing removes it while the run lives. A run that made nothing leaves no
    record.
    """

    def __init__(self, store: Store, *, title: str, command: str | None) -> None:
        self._store, self.id = store, secrets.token_hex(8)
        self._path = folder_of(store) / f"{self.id}.json"
        self._lock: Any = None
        self._words = contextlib.ExitStack()
        self.made = False
        """Whether it has made something, or tried to."""
        self.facts: dict[str, Any] = {
            "id": self.id,
            "title": title,
            "command": command,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": now(),
            "ended": None,
            "state": RUNNING,
            "error": None,
            "stages": [],
            "now": None,
        }

    def __enter__(self) -> Job:
        folder_of(self._store).mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_suffix(".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._save()
        self._words.enter_context(written_down(self._path.with_suffix(".log")))
        return self

    def take(self, stage: str, key: str, label: str, *, made: bool) -> None:
        """Say that the run goes on with a result, which it has made or found."""
        self.made = self.made or made
        self.facts["now"] = None
        others = [row for row in self.facts["stages"] if (row["stage"], row["key"]) != (stage, key)]
        self.facts["stages"] = [*others, {"stage": stage, "key": key, "label": label, "made": made}]
        self._save()

    def keep(self, part: Job) -> None:
        """Go on with all that a run within this one has taken up and made, which nothing removes then either."""
        self.made = self.made or part.made
        new = {(row["stage"], row["key"]) for row in part.facts["stages"]}
        others = [row for row in self.facts["stages"] if (row["stage"], row["key"]) not in new]
        self.facts["stages"] = [*others, *part.facts["stages"]]
        self._save()

    def begin(self, stage: str, key: str, label: str) -> None:
        """Say which result the run is making."""
        self.made = True
        self.facts["now"] = {"stage": stage, "key": key, "label": label}
        self._save()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = state_of(error)
        self.facts |= {"state": state, "ended": now(), "error": told(error) if error is not None else None}
        self._words.close()
        log = self._path.with_suffix(".log")
        with contextlib.suppress(OSError):  # the disk may be full, which is what the run ends with
            if self.made or error is not None:
                self._save()
                if error is not None:
                    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                        file.write(f"{state}: {visible(self.facts['error'])}\n")
            else:
                self._path.unlink()
                log.unlink()
        self._lock.close()
        with contextlib.suppress(OSError):
            self._path.with_suffix(".lock").unlink()

    def _save(self) -> None:
        write_atomically(self._path, json.dumps(self.facts))


def read_job(path: Path) -> dict[str, Any] | None:
    """The record of a run; None where it cannot be read. One whose process is gone is interrupted."""
    try:
        facts = json.loads(regular_text(path))
    except (OSError, ValueError, RecursionError):
        return None
    named = isinstance(facts, dict) and all(isinstance(facts.get(n), str) for n in ("id", "title", "started", "state"))
    said = named and all(isinstance(facts.get(n), str | None) for n in ("ended", "error", "command"))
    stages = facts.get("stages") if said else None
    if not isinstance(stages, list) or not all(isinstance(one, dict) for one in (*stages, facts.get("now") or {})):
        return None
    if facts["state"] == RUNNING and not held(path.with_suffix(".lock")):
        facts["state"] = INTERRUPTED
    return facts


def live_jobs(store: Store) -> list[dict[str, Any]]:
    """The records of runs whose process lives."""
    found = []
    for lock in folder_of(store).glob("*.lock"):
        if lock.stem != "using" and held(lock) and (facts := read_job(lock.with_suffix(".json"))):
            found.append(facts)
    return found


def stages_of(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Stage and key of what a run has taken up or makes."""
    rows = [*facts["stages"], *([facts["now"]] if isinstance(facts.get("now"), dict) else [])]
    return [(str(row.get("stage")), str(row.get("key"))) for row in rows if isinstance(row, dict)]
