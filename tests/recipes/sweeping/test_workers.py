"""Workers of a sweep: each trial is one worker's, jobs of before are taken up, and none is left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from ayllu.api import research
from ayllu.fleet.launch import records
from ayllu.fleet.launch.batch_job import BatchJob, Status
from ayllu.lab.error import Stopped, UserError
from ayllu.lab.run import Place
from ayllu.lab.store import Store
from ayllu.recipes.cria import cria
from ayllu.recipes.sweeping import sweep
from ayllu.recipes.sweeping.axes import read_axes
from ayllu.recipes.sweeping.sweep import Part, Sweep, run_part
from ayllu.recipes.sweeping.workers import Workers, train_ahead
from support.parts import need_module


@pytest.fixture(autouse=True)
def _optuna() -> None:
    need_module("optuna", "Optuna is not installed: pip install .[sweep]")


SEARCHES: dict[str, dict[str, Any]] = {
    "grid": {"axes": ["lr=0.01,0.02,0.03", "width=64,128"]},
    "random": {"axes": ["lr=1e-3..1e-1"], "trials": 7},
    "halving": {"axes": ["lr=1e-3..1e-1"], "trials": 7},
}


@pytest.mark.parametrize("method", SEARCHES)
def test_parts_are_all_trials_and_each_is_one_part_s(
    method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, float]] = []

    def measured(asked: Sweep, place: Place, varied: dict[str, Any], seed: int, share: float) -> None:
        trained.append((json.dumps(varied), share))
        if len(trained) % 3 == 0:
            raise UserError("this one comes to nothing")

    monkeypatch.setattr(sweep, "measure", measured)
    given = SEARCHES[method]
    asked = Sweep(
        name="cria",
        recipe=cria,
        options={},
        axes=read_axes(cria, given["axes"], {}),
        method=method,
        trials=given.get("trials", 20),
    )
    place = Place(store=Store(tmp_path), cache=tmp_path)
    counts = [run_part(asked, place, Part(number=number, of=4)) for number in range(1, 5)]
    total = 6 if method == "grid" else 7
    numbers = [number for number, _ in counts]
    assert sum(numbers) == total == len(set(trained)) and max(numbers) - min(numbers) <= 1
    assert sum(failed for _, failed in counts) == total // 3
    assert {share for _, share in trained} == ({1 / 9} if method == "halving" else {1.0})
    assert not list(tmp_path.glob("sweeps/*")), "the record is the sweep's own"


class Cluster:
    """A scheduler that runs nothing; jobs end when the test says so."""

    name = "slurm"

    def __init__(self) -> None:
        self.jobs: dict[str, BatchJob] = {}
        self.states: dict[str, str] = {}

    def files(self, job: BatchJob) -> dict[str, str]:
        return {"job.sh": job.command()}

    def submit(self, job: BatchJob) -> str:
        identity = str(len(self.jobs))
        self.jobs[identity], self.states[identity] = job, "running"
        return identity

    def status(self, identity: str, folder: Path) -> Status:
        return Status(state=self.states[identity], detail="")

    def cancel(self, identity: str, folder: Path) -> None:
        self.states[identity] = "cancelled"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()
    monkeypatch.setitem(records.SCHEDULERS, "slurm", found)  # type: ignore[arg-type]
    return found


def test_a_job_is_the_command_with_its_part(cluster: Cluster, tmp_path: Path) -> None:
    def end() -> None:
        cluster.states = dict.fromkeys(cluster.states, "finished")

    workers = Workers(count=3, on="slurm", queue="cpu")
    train_ahead("cria", ["--set", "lr=0.01,0.02", "--budget", "1"], tmp_path, workers, sweep="ab12", wait=end)
    assert [job.name for job in cluster.jobs.values()] == ["sweep-ab12-1", "sweep-ab12-2", "sweep-ab12-3"]
    words = shlex.split(cluster.jobs["1"].command())
    assert words[:5] == ["ayllu", "sweep", "cria", "--set", "lr=0.01,0.02"]
    assert words[5:] == ["--budget", "1", "--home", str(tmp_path), "--part", "2/3"]
    assert {job.queue for job in cluster.jobs.values()} == {"cpu"}


def test_who_is_stopped_ends_its_workers_and_the_next_takes_up_those_that_run(cluster: Cluster, tmp_path: Path) -> None:
    workers = Workers(count=2, on="slurm")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ahead("cria", [], tmp_path, workers, sweep="ab12", wait=stop)
    assert set(cluster.states.values()) == {"cancelled"}
    cluster.states["1"] = "running"  # as where the one that waited was killed

    def end() -> None:
        cluster.states = dict.fromkeys(cluster.states, "failed")

    train_ahead("cria", [], tmp_path, workers, sweep="ab12", wait=end)
    assert len(cluster.jobs) == 3, "one new job beside the one that ran"


def test_what_cannot_be_started_leaves_no_worker_behind(cluster: Cluster, tmp_path: Path) -> None:
    """The scheduler takes the first job, and not the second."""
    submit = cluster.submit

    def refuse(job: BatchJob) -> str:
        if job.name.endswith("-2"):
            raise UserError("the queue is full")
        return submit(job)

    cluster.submit = refuse  # type: ignore[method-assign]
    with pytest.raises(UserError, match="the queue is full"):
        train_ahead("cria", [], tmp_path, Workers(count=2, on="slurm"), sweep="ab12")
    assert list(cluster.states.values()) == ["cancelled"]


def test_what_is_refused_starts_no_job(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--search random"):
        research.sweep("cria", vary=["lr=1e-3..1e-1"], home=tmp_path, workers=2, on="slurm", speed=1e3)
    with pytest.raises(UserError, match="width"):
        research.sweep("cria", vary=["width=64,-3"], home=tmp_path, workers=2, on="slurm", speed=1e3)
    assert not cluster.jobs


def test_workers_find_what_is_named_from_here_and_are_no_more_than_trials(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder of texts is part of keys as it was typed, and would be looked for where they start."""
    for folder in ("here/texts", "here/team"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here" / "texts" / "a.txt").write_text("Some words.")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("AYLLU_TEAM", "team")
    monkeypatch.setattr(sweep, "run_sweep", lambda asked, place: {})
    submit = cluster.submit

    def end(job: BatchJob) -> str:
        identity = submit(job)
        cluster.states[identity] = "finished"
        return identity

    cluster.submit = end  # type: ignore[method-assign]
    asked: dict[str, Any] = {
        "sources": ("folder:texts",),
        "licence": "PSF-2.0",
        "speed": 1e3,
        "home": tmp_path / "home",
    }
    research.sweep("cria", vary=["lr=0.01,0.02"], workers=8, on="slurm", **asked)
    assert [job.options[-1] for job in cluster.jobs.values()] == ["1/2", "2/2"]
    for job in cluster.jobs.values():
        assert "folder:texts" in job.options and job.start == tmp_path / "here"
        assert job.environment == {"AYLLU_TEAM": str(tmp_path / "here" / "team")}


def test_a_scheduler_that_does_not_answer_for_a_while_ends_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = cluster.status, 0

    def status(identity: str, folder: Path) -> Status:
        nonlocal asked
        asked += 1
        if asked % 3:
            raise UserError("squeue: Socket timed out")
        return answers(identity, folder)

    def end() -> None:
        if asked > 400:
            cluster.states = dict.fromkeys(cluster.states, "finished")

    monkeypatch.setattr(cluster, "status", status)
    train_ahead("cria", [], tmp_path, Workers(count=1, on="slurm"), sweep="ab12", wait=end)
    assert asked > 400 and set(cluster.states.values()) == {"finished"}
    monkeypatch.setattr(cluster, "status", lambda *_: (_ for _ in ()).throw(UserError("squeue: Socket timed out")))
    with pytest.raises(UserError, match="Socket timed out"):
        train_ahead("cria", [], tmp_path, Workers(count=1, on="slurm"), sweep="ef56", wait=lambda: None)
    assert cluster.states["1"] == "cancelled"


def test_what_the_command_says_is_what_a_worker_is_told(cluster: Cluster, tmp_path: Path) -> None:
    """Each kind of option comes back from the command line as it was given."""
    from ayllu.cli.lab.sweep import app

    told = {"set": ("lr=0.01,0.02",), "sources": ("folder:a b", "folder:c"), "speed": 1000.0, "private": True}
    words = [word for name, value in told.items() for word in research.option_words(name, value)]
    assert research.option_words("licence", None) == []
    _, bound, _ = app.parse_args(["cria", *words, "--part", "1/2"], exit_on_error=False, print_error=False)
    assert bound.kwargs["sources"] == ("folder:a b", "folder:c") and bound.kwargs["private"] is True
    assert (bound.kwargs["speed"], bound.kwargs["part"]) == (1000.0, "1/2")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"part": "3/2"}, "there is no part 3 of 2"),
        ({"part": "0/2"}, "there is no part 0 of 2"),
        ({"part": "half"}, "'half' is no part of a sweep; write it as 2/8"),
        ({"workers": 2}, "give --speed as well"),
        ({"workers": 2, "part": "1/2", "speed": 1000.0}, "leave out --part or --workers"),
        ({"on": "slurm"}, "give --workers as well"),
        ({"queue": "cpu"}, "give --workers as well"),
        ({"workers": -1, "speed": 1000.0}, "workers is -1; it must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        research.sweep("cria", vary=["lr=0.01,0.02"], home=tmp_path, **asked)


def test_the_real_scheduler_of_this_machine_runs_a_part(tmp_path: Path) -> None:
    """A worker whose sweep is refused fails with the sweep's own sentence, and the waiting ends."""
    train_ahead("cria", ["--set", "lr=x"], tmp_path, Workers(count=1), sweep="cd34")
    log = (tmp_path / ".ayllu" / "launch" / "sweep-cd34-1" / "log").read_text()
    assert "lr" in log and "Traceback" not in log


def test_sigterm_ends_the_workers_too(cluster: Cluster, tmp_path: Path) -> None:
    """Supervisors and schedulers stop a program so: jobs that go on alone would train for nobody."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="the sweep ab12 was stopped"):
        train_ahead(
            "cria", ["--set", "lr=0.01,0.02"], tmp_path, Workers(count=2, on="slurm"), sweep="ab12",
            wait=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )  # fmt: skip
    assert list(cluster.states.values()) == ["cancelled", "cancelled"]
    assert signal.getsignal(signal.SIGTERM) is before
