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

    Answers are reused only where that line is equal: same weights, tokenizer, type and questions. A line that a killed
    process left half written is dropped. Two runs of one owner may share the file: each line is one write at its end,
    and it is written anew only where it is another's or damaged.
    """

    def __init__(self, path: Path, owner: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Entry]) -> None:
        self.path = path
        self.outcomes: dict[str, Entry] = {}
        self._parse = read
        head = json.dumps(owner, sort_keys=True)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            kept, whole = self._read(head)
            if not whole:
                draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
                draft.write_text("".join(f"{line}\n" for line in (head, *kept)), encoding="utf-8")
                draft.replace(path)

    def add(self, outcome: Entry) -> None:
        """Keep an answer."""
        self.outcomes[outcome.id] = outcome
        line = json.dumps(outcome.as_json()).encode() + b"\n"
        with self._writing(), self.path.open("ab", buffering=0) as file:
            while line:
                line = line[file.write(line) :]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"cannot write {self.path} ({reason}): free the disk or choose another folder") from error

    def _read(self, head: str) -> tuple[list[str], bool]:
        """The whole lines of an earlier run of the same owner, and whether the file is nothing but them.

        Fills `outcomes`.
        """
        try:
            first, *lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return [], False
        if first != head:
            return [], False
        kept: list[str] = []
        for line in lines:
            try:
                outcome = self._parse(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            self.outcomes[outcome.id] = outcome
            kept.append(line)
        return kept, lines == [*kept, ""]


def weights_digest(model: nn.Module) -> str:
    """16 hexadecimal digits over names, shapes, types and bytes of a model's parameters."""
    import torch

    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]
