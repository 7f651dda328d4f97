"""The answers so far of an evaluation under way, so that a killed one goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from torch import nn


class Kept(Protocol):
    """What a journal keeps, such as an `Outcome`."""

    @property
    def id(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


Entry = TypeVar("Entry", bound=Kept)


class Journal(Generic[Entry]):
    """A file of outcomes behind one line that says whose they are; `read` makes one of a line's object.

    Answers are reused only where that line is equal: same weights, tokenizer, type and questions. What a killed process
    left half written at the end is dropped.
    """

    def __init__(self, path: Path, owner: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Entry]) -> None:
        self.path = path
        self.outcomes: dict[str, Entry] = {}
        self._parse = read
        head = json.dumps(owner, sort_keys=True)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._read(head)
            draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            draft.write_text("".join(f"{line}\n" for line in (head, *kept)), encoding="utf-8")
            draft.replace(path)

    def add(self, outcome: Entry) -> None:
        """Keep an answer."""
        self.outcomes[outcome.id] = outcome
        with self._writing(), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(outcome.as_json()) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write {self.path} ({reason}): free the disk or choose another folder") from error

    def _read(self, head: str) -> list[str]:
        """The whole lines of an earlier run of the same owner; fills `outcomes`."""
        try:
            first, *lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return []
        kept: list[str] = []
        for line in lines if first == head else []:
            try:
                outcome = self._parse(json.loads(line))
            except (ValueError, KeyError, TypeError):
                break
            self.outcomes[outcome.id] = outcome
            kept.append(line)
        return kept


def weights_digest(model: nn.Module) -> str:
    """16 hexadecimal digits over names, shapes, types and bytes of a model's parameters."""
    import torch

    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]
