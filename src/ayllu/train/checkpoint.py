"""The full state of a training run on disk: sharded safetensors, digested, complete or not there at all.

torch.distributed.checkpoint writes and reads the tensors, each process its shards, and fits them to any other layout.
Nothing is pickled. Writing goes on beside the training, from copies.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from ayllu.lab.key import file_digest
from ayllu.lab.progress import say
from ayllu.lab.store import write_atomically
from ayllu.train.distributed.processes import GLOO

KEPT = 2
"""Checkpoints kept: the newest, and the one before for when the newest turns out damaged."""
MANIFEST = "checkpoint.json"


class Checkpoints:
    """The checkpoints of one run below `folder`, which all of its processes see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rank, self._size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        # A group of its own: messages about checkpoints come from another thread than those of the training.
        self._group = dist.new_group(backend=GLOO) if self._size > 1 else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._unusable: list[Path] = []
        """Passed over when the run began: gone with the next one that is written, so that they never count as kept."""

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copy `tensors` and go on; a thread writes them as the checkpoint of `step`. `facts` is plain JSON.

        Waits first for a checkpoint that is still being written. One that cannot be written is told on stderr and costs
        nothing but itself: the training goes on, and those before stay.
        """
        self.wait()
        copies = {name: _with_axis(tensor.detach()).clone() for name, tensor in tensors.items()}
        text = json.dumps({"step": step, **facts})
        self._writing = self._thread.submit(self._write, step, copies, text)

    @property
    def busy(self) -> bool:
        """Whether this process is still writing one: on a slow disk it is better to leave one out than to wait."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Until nothing is being written."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except (OSError, RuntimeError, dcp.CheckpointException) as error:
            reason = next((e for e in _causes(error) if isinstance(e, OSError)), error)
            if self._rank == 0:
                say(f"a checkpoint could not be written ({reason}); the training goes on without it")
        self._writing = None

    def close(self) -> None:
        """Wait, and end the thread."""
        self.wait()
        self._thread.shutdown()

    def _write(self, step: int, tensors: dict[str, Tensor], facts: str) -> None:
        """In the thread: each process its shards and their digests, then the first the manifest and the name."""
        partial = self.folder / "partial"
        if self._rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._barrier()  # nobody writes before the folder is there
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there is one process is no news
            writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
            dcp.save(tensors, storage_writer=writer, process_group=self._group, no_dist=self._size == 1)
        mine = f"shard-{self._rank + 1:05d}-"
        digests = {path.name: file_digest(path) for path in partial.iterdir() if path.name.startswith(mine)}
        write_atomically(partial / f"digests-{self._rank:05d}.json", json.dumps(digests))
        self._barrier()  # the first process goes on once all shards and their digests are there
        if self._rank == 0:
            self._publish(partial, self.folder / f"step-{step:09d}", facts)

    def _publish(self, partial: Path, place: Path, facts: str) -> None:
        """Make what was written a checkpoint, and let go of those that are not kept."""
        files: dict[str, str] = {}
        for path in sorted(partial.glob("digests-*.json")):
            files |= json.loads(path.read_text())
            path.unlink()
        # Data first, then the manifest that says it is whole, then the name under which it is looked for: a power cut
        # between two of them leaves a checkpoint that does not count, never one that counts and is not whole.
        for name in files:
            with (partial / name).open("rb") as file:
                os.fsync(file.fileno())
        write_atomically(partial / MANIFEST, json.dumps({**json.loads(facts), "files": files}))
        shutil.rmtree(place, ignore_errors=True)
        self._unusable = [damaged for damaged in self._unusable if damaged != place]
        partial.rename(place)
        # Only now that a newer one is whole do others go, the damaged ones before all: else they would count as kept.
        while self._unusable:
            shutil.rmtree(self._unusable.pop(), ignore_errors=True)
        for old in sorted(self.folder.glob("step-*"))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Fill `tensors` from the newest whole checkpoint and return its facts, `step` among them; None without one.

        Damaged ones are passed over with a warning. All processes take the same.
        """
        self.wait()
        places = [sorted(self.folder.glob("step-*"), reverse=True)]
        if self._size > 1:
            dist.broadcast_object_list(places, 0, group=self._group)
        for place in places[0]:
            facts, problem = self._examine(place)
            if self._size > 1:
                problems: list[str | None] = [None] * self._size
                dist.all_gather_object(problems, problem, group=self._group)
                problem = next((p for p in problems if p), None)
            if problem is None and facts is not None:
                self._read(place, tensors)
                return facts
            self._unusable.append(place)
            if self._rank == 0:
                say(f"checkpoint {place} cannot be used ({problem}); taking the one before")
        return None

    def _examine(self, place: Path) -> tuple[dict[str, Any] | None, str | None]:
        """The facts of a checkpoint and what is wrong with this process's share of its files."""
        try:
            facts = json.loads((place / MANIFEST).read_text())
            files = sorted(facts.pop("files").items())
            for name, digest in files[self._rank :: self._size]:
                if file_digest(place / name) != digest:
                    return None, f"the digest of {name} differs"
        except (OSError, ValueError, KeyError) as error:
            return None, str(error) or type(error).__name__
        return facts, None

    def read_alone(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Fill `tensors` from the checkpoint of `step` in this process only. Raises OSError when it is not there."""
        self._read(self.folder / f"step-{step:09d}", tensors, alone=True)

    def _read(self, place: Path, tensors: Mapping[str, Tensor], *, alone: bool = False) -> None:
        # Reading fills tensors in place; those without an axis are read through a view with one.
        views = {name: _with_axis(tensor.detach()) for name, tensor in tensors.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            dcp.load(
                views,
                storage_reader=HuggingFaceStorageReader(str(place)),
                process_group=self._group,
                no_dist=alone or self._size == 1,
            )
        with torch.no_grad():
            for name, tensor in tensors.items():
                if views[name].data_ptr() != tensor.data_ptr():
                    tensor.copy_(views[name].reshape(tensor.shape))

    def _barrier(self) -> None:
        if self._group is not None:
            dist.barrier(self._group)


def _with_axis(tensor: Tensor) -> Tensor:
    """safetensors as DCP reads them have an axis at least."""
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def _causes(error: BaseException) -> list[BaseException]:
    """An error with what lies below it: DCP wraps the errors of all processes in one."""
    found = [error]
    if isinstance(error, dcp.CheckpointException):
        found += [failure[0] for failure in error.failures.values()]
    if error.__cause__ is not None:
        found += _causes(error.__cause__)
    return found
