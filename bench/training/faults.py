"""What faults cost a run: two processes under torchrun, hurt in every way that `ayllu.train` says it survives.

    python bench/training/faults.py [--kills 20] [--times 3] [--stall-minutes 4] [--json]

Each row: the kind of fault, how often it was tried, the steps that were lost (done before the fault, done again after
it), and the seconds from the fault to the first step that was finished after it. The job is that of the tests
(`tests/support/programs/chaos.py`: a step of 0.1 s and more, a checkpoint every 0.3 s); every run must end with the
losses of the unbroken one. Last, how long a model of 100 million parameters waits for checkpoints at one a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ayllu.train.metrics import read_metrics  # noqa: E402
from support.programs import PROGRAMS  # noqa: E402

Process = subprocess.Popen[bytes]


@dataclass(kw_only=True)
class Row:
    """What one kind of fault cost, fault by fault."""

    kind: str
    lost: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    same: bool = True
    """Whether the losses are those of the unbroken run, to the last bit."""


PROGRAM = str(PROGRAMS / "chaos.py")


def start(tokens: Path, folder: Path, *words: str) -> Process:
    """Long enough to be hurt several times; each worker a new interpreter, as users have it."""
    folder.mkdir(parents=True, exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=40"]
    command = [sys.executable, *launcher, "--monitor-interval=0.1", PROGRAM, str(tokens), str(folder), "dp_shard=2"]
    paths = os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, "steps=400", *words], stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": paths}
        )


def finish(process: Process, folder: Path) -> list[float]:
    if process.wait(timeout=300):
        raise RuntimeError((folder / "log").read_text()[-3000:])
    return json.loads((folder / "losses.json").read_text())


def workers(process: Process) -> list[int]:
    """The training processes that torchrun has running."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if PROGRAM in Path(f"/proc/{child}/cmdline").read_text()]


def last_step(folder: Path) -> int:
    path = folder / "logs" / "metrics.jsonl"
    return max((row["step"] for row in read_metrics(path)), default=0) if path.exists() else 0


def starts(folder: Path) -> list[int]:
    """The step that each start went on from, a fresh one left out."""
    return [int(found) for found in re.findall(r"going on from step (\d+)", (folder / "log").read_text())]


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("the run did not come back")
        time.sleep(0.01)


def newest(folder: Path) -> Path | None:
    return max((folder / "checkpoints").glob("step-*"), default=None)


def recovered(row: Row, folder: Path, hurt: Callable[[], None], again: Callable[[], None] | None = None) -> None:
    """Hurt the run, start it again where torchrun does not do that itself, and note what it cost."""
    path, before, known = folder / "logs" / "metrics.jsonl", last_step(folder), len(starts(folder))
    old = path.stat().st_ino
    began = time.monotonic()
    hurt()
    before = max(before, last_step(folder))
    if again is not None:
        again()
    wait_for(lambda: len(starts(folder)) > known)
    step = starts(folder)[-1]
    # A new start writes the lines up to its step into a new file; at the end there may be no step left to do.
    wait_for(lambda: (path.stat().st_ino != old and last_step(folder) > step) or (folder / "losses.json").exists())
    row.seconds.append(time.monotonic() - began)
    row.lost.append(before - step)


def killed_ranks(tokens: Path, folder: Path, times: int, expected: list[float]) -> Row:
    """One rank after another dies at a random time; torchrun starts both again."""
    row, chance, seen = Row(kind="a rank killed (SIGKILL)"), random.Random(0), ""
    process = start(tokens, folder)
    while len(row.lost) < times and process.poll() is None:
        place = newest(folder)
        if place is None or place.name <= seen:
            time.sleep(0.02)
            continue
        seen = place.name
        time.sleep(chance.uniform(0, 0.5))
        if alive := workers(process):
            recovered(row, folder, lambda: os.kill(chance.choice(alive), signal.SIGKILL))
    row.same = finish(process, folder) == expected
    return row


def end_job(process: Process) -> None:
    """torchrun and all that it started, at once, as when a machine loses power."""
    for worker in workers(process):
        os.kill(worker, signal.SIGKILL)
    process.kill()
    process.wait()


def stopped_jobs(
    kind: str, tokens: Path, folder: Path, times: int, expected: list[float], damage: Callable[[Path], None] | None
) -> Row:
    """The whole job ends, something happens to its newest checkpoint, and the same command starts it again."""
    row, process = Row(kind=kind), start(tokens, folder)
    for _ in range(times):
        first = newest(folder)
        wait_for(lambda: len(list((folder / "checkpoints").glob("step-*"))) == 2 and newest(folder) != first)  # noqa: B023

        def hurt() -> None:
            end_job(process)
            place = newest(folder)
            if damage is not None and place is not None:
                damage(place)

        def again() -> None:
            nonlocal process
            process = start(tokens, folder)

        recovered(row, folder, hurt, again)
    row.same = finish(process, folder) == expected
    return row


def terminated(tokens: Path, folder: Path, times: int, expected: list[float]) -> Row:
    """SIGTERM to both, as a scheduler sends it: a checkpoint, success, and the same command again."""
    row, process = Row(kind="told to leave (SIGTERM)"), start(tokens, folder)
    for _ in range(times):
        first = newest(folder)
        wait_for(lambda: newest(folder) != first)  # noqa: B023

        def hurt() -> None:
            for worker in workers(process):
                os.kill(worker, signal.SIGTERM)
            if process.wait(timeout=60):
                raise RuntimeError("SIGTERM did not end the run with success")

        def again() -> None:
            nonlocal process
            process = start(tokens, folder)

        recovered(row, folder, hurt, again)
    row.same = finish(process, folder) == expected
    return row


def hung(tokens: Path, folder: Path, expected: list[float]) -> Row:
    """A rank stops within a step; the watchdog of the tests waits 20 s."""
    row, process = Row(kind="a rank hangs (limit 20 s)"), start(tokens, folder, "hang")
    wait_for(lambda: (folder / "hung").exists())
    recovered(row, folder, lambda: None)
    row.same = finish(process, folder) == expected
    return row


def full_disk(tokens: Path, folder: Path, expected: list[float]) -> Row:
    """The disk fills up while the run goes on, then a rank dies: the last whole checkpoint counts."""
    row, process = Row(kind="disk full, then a rank killed"), None
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        process = start(tokens, folder)
        wait_for(lambda: newest(folder) is not None)
        with (folder / "filler").open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        time.sleep(1)
        # A little room again, for the log of the start; the checkpoints have failed in the meantime.
        os.truncate(folder / "filler", 0)
        recovered(row, folder, lambda: os.kill(workers(process)[0], signal.SIGKILL))
        row.same = finish(process, folder) == expected
    finally:
        if process is not None and process.poll() is None:
            end_job(process)
        subprocess.run(["umount", str(folder)], check=True)
    return row


def truncate(place: Path) -> None:
    shard = max(place.glob("shard-*"), key=lambda path: path.stat().st_size)
    os.truncate(shard, shard.stat().st_size // 2)


def flip(place: Path) -> None:
    shard = max(place.glob("shard-*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)


def remove(place: Path) -> None:
    min(place.glob("shard-*")).unlink()


def faults(kills: int, times: int) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="ayllu-faults-"))
    try:
        tokens = folder / "tokens"
        expected = finish(start(tokens, folder / "unbroken"), folder / "unbroken")
        found = []

        def note(row: Row) -> None:
            found.append(row)
            print(f"{row.kind}: {len(row.lost)} done", file=sys.stderr, flush=True)

        note(killed_ranks(tokens, folder / "killed", kills, expected))
        note(stopped_jobs("the whole job killed", tokens, folder / "power", times, expected, None))
        for kind, damage in (("truncated", truncate), ("one bit flipped", flip), ("a shard missing", remove)):
            name = f"job killed, newest checkpoint: {kind}"
            note(stopped_jobs(name, tokens, folder / kind.replace(" ", "-"), times, expected, damage))
        note(terminated(tokens, folder / "told", times, expected))
        note(hung(tokens, folder / "hung", expected))
        if os.geteuid() == 0:
            note(full_disk(tokens, folder / "full", expected))
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stall(minutes: float) -> dict[str, float]:
    """Share of the time that steps waited for checkpoints, and how much longer a step took beside their writing."""
    import torch

    from ayllu.data.tokens.loader import Loader
    from ayllu.data.tokens.pack import TokenizedDocument, Tokens, write_tokens
    from ayllu.model.config import ModelConfig
    from ayllu.model.transformer import Transformer
    from ayllu.train.loop import Execution, TrainConfig, train

    folder = Path(tempfile.mkdtemp(prefix="ayllu-stall-"))
    config = ModelConfig(
        vocabulary=32_768, layers=12, width=768, heads=12, kv_heads=4, feed_forward=2048, context=256, tied=True
    )
    try:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(2, config.vocabulary, (400, 250), generator=generator).tolist()
        pieces = [TokenizedDocument(ids=[1, *row]) for row in ids]
        (folder / "tokens").mkdir()
        write_tokens(folder / "tokens", {"a": pieces}, length=256, vocabulary=config.vocabulary, bos=1, pad=0)
        loader, seconds, waited = Loader(Tokens(folder / "tokens"), seed=0), [], []
        step, often = 2.0, 60.0
        for turn in range(2):
            model = Transformer(config)
            model.initialise(0)
            steps = max(round(60 * minutes / step), 4) if turn else 8
            settings = TrainConfig(steps=steps, batch=4, warmup=2, checkpoint_seconds=often if turn else float("inf"))
            logs = folder / f"logs-{turn}"
            began = time.monotonic()
            result = train(
                model,
                loader,
                settings,
                scratch=folder / f"run-{turn}",
                title="with checkpoints" if turn else "without",
                execution=Execution(logs=logs),
            )
            whole = time.monotonic() - began
            times = [row["seconds"] for row in read_metrics(logs / "metrics.jsonl")][2:]
            step = statistics.median(times)
            seconds.append(statistics.fmean(times))
            waited.append(result.waited / (result.seconds + result.waited))
            del model, result
        return {
            "parameters": config.parameters,
            "seconds": whole,
            "checkpoints": len(list((folder / "run-1" / "checkpoints").glob("step-*"))),
            "waited_share": waited[1],
            "step_s_without": seconds[0],
            "step_s_with": seconds[1],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="ranks killed in one run")
    parser.add_argument("--times", type=int, default=3, help="tries of the other kinds")
    parser.add_argument("--stall-minutes", type=float, default=4, help="0 leaves it out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    rows = faults(given.kills, given.times) if given.kills else []
    waiting = stall(given.stall_minutes) if given.stall_minutes else None
    if given.json:
        print(json.dumps({"faults": [vars(row) for row in rows], "stall": waiting}))
        return
    print(f"{'fault':48}{'tried':>6}{'steps lost':>20}{'back after, s':>20}   losses")
    for row in rows:
        lost = f"{statistics.median(row.lost):.0f} (at most {max(row.lost)})"
        back = f"{statistics.median(row.seconds):.1f} (at most {max(row.seconds):.1f})"
        same = "the same bits" if row.same else "DIFFERENT"
        print(f"{row.kind:48}{len(row.lost):>6}{lost:>20}{back:>20}   {same}")
    if waiting:
        print(
            f"\n{waiting['parameters'] / 1e6:.0f} M parameters, a checkpoint a minute: "
            f"{100 * waiting['waited_share']:.1f} % of the time waited; a step {waiting['step_s_with']:.2f} s, "
            f"without checkpoints {waiting['step_s_without']:.2f} s"
        )


if __name__ == "__main__":
    main()
