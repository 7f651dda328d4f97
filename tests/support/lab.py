"""A small lab with a bit of everything: lineage, curves, scores, forecasts, runs that ended and one that goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ayllu.lab.channel import promote
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.shelf import forecasts, labels
from ayllu.lab.shelf.index import entries
from ayllu.lab.shelf.jobs import Job
from ayllu.lab.store import Store, read_manifest
from ayllu.serve.lab.app import create_lab_app
from ayllu.serve.lab.shelf import Shelf
from ayllu.serve.network.listen import listen, url
from ayllu.serve.stoppable import StoppableServer, server_config
from support.scores import scores

RUNNING_KEY = "ab" * 32
STEPS = 200


@stage(identity="small.corpus")
def corpus(ctx: Context, *, source: str) -> None:
    (ctx.folder / "documents.jsonl").write_text(source * 100)


@stage(identity="small.tokens")
def tokens(ctx: Context, docs: Handle[Path], *, length: int = 256) -> None:
    (ctx.folder / "rows.bin").write_text("0" * 5000)


@stage(identity="small.train")
def train(ctx: Context, rows: Handle[Path], *, lr: float, seed: int = 0) -> None:
    (ctx.folder / "config.json").write_text("{}")
    (ctx.folder / "model.safetensors").write_text(f"{lr} {seed}" * 400)
    (ctx.folder / "losses.jsonl").write_text("\n".join(json.dumps(line) for line in course(lr, seed, STEPS)))
    for name, value in {"steps": STEPS, "batch": 8, "length": 256, "flops": 4e12, "seconds": 30.0, "loss": 2.9}.items():
        ctx.note(name, value)
    ctx.predict("seconds", 28.0)


def course(lr: float, seed: int, steps: int) -> list[dict[str, float]]:
    """Losses that fall, with the noise of a training."""
    noise = [math.sin(seed + 12.9898 * n) * 43758.5453 % 1 - 0.5 for n in range(steps)]
    return [
        {"step": n + 1, "loss": 2 + 3 * math.exp(-n * lr * 20) + 0.2 * noise[n], "seconds": 0.15} for n in range(steps)
    ]


@stage(identity="small.judge")
def judge(ctx: Context, model: Handle[Path], *, worse: bool = False) -> None:
    found = scores()
    if worse:
        found = replace(found, documents=tuple(replace(d, bits=d.bits * 1.5) for d in found.documents))
    found.save(ctx.folder)


@stage(identity="small.release")
def release(ctx: Context, model: Handle[Path], measured: Handle[Path]) -> None:
    (ctx.folder / "release").mkdir()
    (ctx.folder / "release" / "config.json").write_text("{}")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """The store, and the keys of what is in it."""

    store: Store
    good: str
    bad: str
    judged: str
    release: str
    job: str


def small_lab(home: Path) -> Lab:
    """Two trainings from one corpus, each judged, the first released; and a run that failed."""
    store = Store(home)
    place = Place(store=store, cache=home)
    rows = tokens(corpus(source="everyday"))
    good, bad = train(rows, lr=0.003, seed=1), train(rows, lr=0.001, seed=2)
    scored, worse = judge(good), judge(bad, worse=True)
    wanted = {"good": good, "judged": scored, "release": release(good, scored), "bad": bad, "worse": worse}
    for seed, lr in ((1, 0.001), (2, 0.003), (1, 0.01), (2, 0.01)):
        resolve(judge(train(rows, lr=lr, seed=seed)), place)
    keys = {name: read_manifest(resolve(handle, place)[handle].folder)["key"] for name, handle in wanted.items()}
    job = next(row for row in entries(store) if row.kind == "run" and row.name == "small.release")
    with contextlib.suppress(ValueError), Job(store, title="broken", command="ayllu run broken") as broken:
        broken.begin("small.train", "c" * 64, "train")
        raise ValueError("<b>lr</b> must not be \u202e negative")
    promote(store, "small@stable", store.path("small.release", keys["release"]))
    labels.tag(store, keys["good"], add=("baseline",))
    labels.note(store, keys["good"], "The first one that learnt.")
    for n in range(12):
        one = forecasts.forecast(store, by="small.train", what="seconds", value=30.0)
        forecasts.measure(store, one.id, 30.0 * (1 + 0.12 * math.sin(3 * n)) if n != 5 else 70.0)
    del keys["worse"]
    record_sweep(home, keys["good"])
    return Lab(store=store, job=str(job.key), **keys)


SWEEP = "5eed" * 4


def record_sweep(home: Path, key: str) -> None:
    """A record as `ayllu sweep` keeps it: two learning rates, the better with two seeds, and a trial that failed."""
    trials = [
        {"values": {"lr": lr}, "seed": seed, "share": 1.0, "value": value, "key": key, "state": state, "error": error}
        for lr, seed, value, state, error in (
            (0.001, 0, 1.5, "finished", None),
            (0.003, 0, 1.2, "finished", None),
            (0.1, 0, None, "failed", "the loss is no number"),
            (0.003, 1, 1.3, "finished", None),
        )
    ]
    facts = {"kind": "sweep", "id": SWEEP, "recipe": "small", "state": "finished", "metric": "bits_per_byte books"}
    (home / "sweeps").mkdir()
    rows = [{"number": n + 1, **trial} for n, trial in enumerate(trials)]
    (home / "sweeps" / f"{SWEEP}.json").write_text(json.dumps({**facts, "trials": rows}))
    (home / "sweeps" / "damaged.json").write_text('{"kind": "sweep"')


@contextlib.contextmanager
def going_on(store: Store, *, steps: int = 5) -> Iterator[Path]:
    """A training that another process is at, as the store sees it; gives the file that its lines are added to."""
    name = f"small.train-{RUNNING_KEY[:16]}"
    folder = store.partial / name
    folder.mkdir(parents=True)
    begun = {"stage": "small.train", "key": RUNNING_KEY, "started": "2026-11-29T00:00:00+00:00", "inputs": {}}
    (folder / "begun.json").write_text(json.dumps(begun))
    path = store.home / "logs" / name / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in course(0.002, 3, steps)))
    with (store.partial / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


@contextlib.contextmanager
def showing(store: Store) -> Iterator[str]:
    """The lab's page of a store on a free port; gives its address."""
    server = StoppableServer(server_config(create_lab_app(Shelf(store))), ready=lambda: None)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield url("127.0.0.1", listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=10)
