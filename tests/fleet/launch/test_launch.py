"""Launching: what schedulers are told, and a job on this machine that is killed and goes on."""

from __future__ import annotations

import json
import os
import signal
import stat
import string
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from ayllu.cli.fleet.commands import app as fleet_app
from ayllu.fleet.launch import manifests, package_source, records
from ayllu.fleet.launch.batch_job import BatchJob
from ayllu.fleet.launch.kubernetes import manifest
from ayllu.fleet.launch.skypilot import task
from ayllu.lab.error import UserError
from ayllu.recipes.registry import RECIPES
from ayllu.train.distributed.layout import Layout

Command = Callable[[list[str]], None]
GOLDEN = Path(__file__).with_name("golden")


def job(folder: Path = Path("/srv/jobs"), **fields) -> BatchJob:
    return BatchJob(
        **{"recipe": "smol", "name": "smol", "folder": folder, "options": ("--budget", "10 hours"), **fields}
    )


EIGHT = {"nodes": 4, "accelerators_per_node": 8, "processes_per_node": 8, "cpus_per_node": 96, "memory_gib": 1000}
GOLDEN_JOBS = {
    "local": job(processes_per_node=2, environment={"NAME": "it's"}),
    "slurm": job(**EIGHT, hours=24, queue="gpu", environment={"NAME": "it's"}),
    "kubernetes": job(**EIGHT, hours=24, queue="research", image="ghcr.io/lab/ayllu:0.1", environment={"NAME": "it's"}),
    "ray": job(**{**EIGHT, "memory_gib": None}, environment={"NAME": "it's"}),
    "skypilot": job(**EIGHT, accelerator="H100", install="ayllu[full]==0.1.0", environment={"NAME": "it's"}),
}


@pytest.mark.parametrize("scheduler", records.SCHEDULERS)
def test_files_are_as_they_were(scheduler: str) -> None:
    """To renew them after a change that is meant: AYLLU_RENEW=1 pytest tests/fleet/launch/test_launch.py."""
    ((name, text),) = records.prepare(scheduler, GOLDEN_JOBS[scheduler]).items()
    golden = GOLDEN / f"{scheduler}-{name}"
    if os.environ.get("AYLLU_RENEW"):
        golden.write_text(text)
    if golden.suffix == ".yaml":
        assert yaml.safe_load(text) == yaml.safe_load(golden.read_text())
    else:
        assert text == golden.read_text()


@pytest.mark.parametrize("name", ["local-run.sh", "slurm-job.sbatch", "ray-entry.sh"])
def test_scripts_are_shell(name: str) -> None:
    assert subprocess.run(["bash", "-n", str(GOLDEN / name)], capture_output=True).returncode == 0


def test_the_manifest_fits_the_published_schema_and_a_wrong_one_does_not() -> None:
    made = manifest(GOLDEN_JOBS["kubernetes"])
    assert manifests.faults(made, manifests.jobset_schema()) == []
    assert yaml.safe_load((GOLDEN / "kubernetes-jobset.yaml").read_text()) == made
    made["spec"]["replicatedJobs"][0]["replicas"] = "one"
    made["spec"]["failurePolicy"]["maxRestart"] = 3
    del made["spec"]["replicatedJobs"][0]["name"]
    assert manifests.faults(made, manifests.jobset_schema()) == [
        "$.spec.failurePolicy: Additional properties are not allowed ('maxRestart' was unexpected)",
        "$.spec.replicatedJobs[0]: 'name' is a required property",
        "$.spec.replicatedJobs[0].replicas: 'one' is not of type 'integer'",
    ]


def test_the_schema_is_the_whole_published_one() -> None:
    """Fields that we do not write are known too, and a misspelt one is refused however deep it stands."""
    made = manifest(GOLDEN_JOBS["kubernetes"])
    made["spec"] |= {"ttlSecondsAfterFinished": 60, "startupPolicy": {"startupPolicyOrder": "InOrder"}}
    pod = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    pod["tolerations"] = [{"key": "gpu", "operator": "Exists"}]
    assert manifests.faults(made, manifests.jobset_schema()) == []
    pod["tolerations"] = [{"key": "gpu", "operators": "Exists"}]
    (fault,) = manifests.faults(made, manifests.jobset_schema())
    assert fault.endswith("tolerations[0]: Additional properties are not allowed ('operators' was unexpected)")


SKYPILOT_JOBS = {
    "golden": GOLDEN_JOBS["skypilot"],
    "one node, no accelerator": job(),
    "an image": job(**EIGHT, accelerator="A100-80GB", image="ghcr.io/lab/ayllu:0.1"),
}


@pytest.mark.parametrize("name", SKYPILOT_JOBS)
def test_the_task_fits_the_schemas_of_skypilot(name: str) -> None:
    schemas = json.loads((Path(__file__).parent / "data" / "skypilot.schema.json").read_text())
    made = yaml.safe_load(manifests.dump(task(SKYPILOT_JOBS[name])))
    Draft7Validator(schemas["task"]).validate(made)
    Draft7Validator(schemas["resources"]).validate(made["resources"])
    for part, wrong in (("task", made | {"nodes": 4}), ("resources", made["resources"] | {"accelerator": "H100"})):
        assert not Draft7Validator(schemas[part]).is_valid(wrong)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(min_size=1), values, min_size=1))
def test_yaml_is_read_back_as_it_was(value: dict) -> None:
    assert yaml.safe_load(manifests.dump(value)) == value


TEXTS_THAT_READERS_TAKE_FOR_OTHER_THINGS = [
    *("y", "N", "yes", "No", "on", "OFF", "true", "null", "~", "", " ", "=", "<<", "-", "?", "@", "`"),
    *("0", "012", "089", "0o17", "0x1F", "0b1", "1_000", "1e3", "1E5", ".5", "1.", "+1", ".inf", ".NaN", "12:30:45"),
    *("2024-01-18", "2024-01-18T10:00:00Z", "a: b", "# no", "a #b", "{a}", "[a]", "*a", "&a", "!a", "%a", "it's", '"'),
    *("word " * 60, "a" * 500, "two\nlines", "ends\n", " begins\n  with blanks\n", "\n", "tab\there", "a\\b", "é"),
]


@pytest.mark.parametrize("text", TEXTS_THAT_READERS_TAKE_FOR_OTHER_THINGS)
def test_a_text_stays_a_text_in_yaml_1_1_and_1_2(text: str) -> None:
    """1.2 has fewer words for booleans and more forms of numbers; quoted, a text is one in both."""
    assert yaml.safe_load(manifests.dump({text: 1})) == {text: 1}
    document = manifests.dump({"value": text})
    assert yaml.safe_load(document) == {"value": text}
    if "\n" not in text:
        first = document.splitlines()[0].removeprefix("value: ")
        assert first.startswith('"') or (first.isascii() and not set(first) - set(string.ascii_letters)), first
        assert len(document.splitlines()) == 1, "a long line is not folded"


def test_one_value_used_twice_is_written_twice() -> None:
    limits = {"cpu": 96}
    assert "&" not in manifests.dump({"limits": limits, "requests": limits})


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, for which more names are recipes."""
    import_module("ayllu.cli.run")  # whose commands are the recipes there are when it is first imported
    for name in ("wrong", "smol; rm -rf"):
        monkeypatch.setitem(RECIPES._added, name, lambda: None)
    return partial(fleet_app, result_action="return_value")


def put_ayllu(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """An `ayllu` of one's own in front of the path: a shell script."""
    tool = folder / "bin" / "ayllu"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{body}")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


def wait_for(fleet: Command, capsys: pytest.CaptureFixture, folder: Path, *states: str, name: str = "smol") -> dict:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        fleet(["launch", "status", name, "--folder", str(folder), "--json"])
        found = json.loads(capsys.readouterr().out)
        if found["state"] in states:
            return found
        time.sleep(0.05)
    raise AssertionError(f"still {found} after 30 s")


def test_a_local_job_that_is_killed_starts_again_and_finishes(
    fleet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    put_ayllu(
        tmp_path,
        monkeypatch,
        'echo "start $(cat checkpoint 2>/dev/null || echo 0): $*"\n'
        "if [ ! -e checkpoint ]; then echo 7 > checkpoint; echo $$ > pid; exec sleep 60; fi\necho done\n",
    )
    fleet(["launch", "smol", "--folder", str(tmp_path), "--json", "--", "--budget", "10"])
    assert json.loads(capsys.readouterr().out)["on"] == "local"
    end = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < end
        time.sleep(0.02)
    with pytest.raises(UserError, match="is running"):
        fleet(["launch", "smol", "--folder", str(tmp_path)])
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert wait_for(fleet, capsys, tmp_path, "finished", "failed")["state"] == "finished"
    fleet(["launch", "logs", "smol", "--folder", str(tmp_path)])
    log = capsys.readouterr().out
    assert "start 0: run smol --budget 10" in log
    assert "start 7: run smol --budget 10" in log
    assert log.rstrip().endswith("done")


def test_a_local_job_that_fails_by_itself_is_not_tried_again_and_one_can_be_cancelled(
    fleet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    put_ayllu(tmp_path, monkeypatch, 'echo once >> times\nif [ "$2" = cria ]; then exit 2; fi\nsleep 60\n')
    fleet(["launch", "cria", "--folder", str(tmp_path), "--json"])
    capsys.readouterr()
    assert wait_for(fleet, capsys, tmp_path, "failed", name="cria")["detail"] == "exit 2"
    assert (tmp_path / "times").read_text() == "once\n"
    fleet(["launch", "smol", "--folder", str(tmp_path), "--json"])
    capsys.readouterr()
    fleet(["launch", "cancel", "smol", "--folder", str(tmp_path), "--json"])
    capsys.readouterr()
    assert wait_for(fleet, capsys, tmp_path, "cancelled")["state"] == "cancelled"


def test_a_dry_run_writes_nothing(fleet: Command, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fleet(["launch", "smol", "--on", "slurm", "--nodes", "2", "--folder", str(tmp_path), "--dry-run", "--json"])
    assert "#SBATCH --nodes=2" in json.loads(capsys.readouterr().out)["files"]["job.sbatch"]
    assert list(tmp_path.iterdir()) == []


def write_plan(folder: Path, **layout: int) -> Path:
    path = folder / "plan.json"
    path.write_text(json.dumps({"pools": [{"choices": [{"layout": {"tp": 8, **layout}}]}]}))
    return path


def test_a_plan_becomes_nodes_processes_and_a_layout(
    fleet: Command, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_plan(tmp_path, dp_shard=4, micro_batch=2)
    fleet(["launch", "smol", "--on", "slurm", "--plan", str(path), "--folder", str(tmp_path), "--dry-run", "--json"])
    script = json.loads(capsys.readouterr().out)["files"]["job.sbatch"]
    assert "#SBATCH --nodes=4\n" in script
    assert "#SBATCH --gpus-per-node=8\n" in script
    assert "--nnodes=4 --nproc-per-node=8" in script
    exported = next(line for line in script.splitlines() if line.startswith("export AYLLU_LAYOUT="))
    said = subprocess.run(["sh", "-c", f'{exported}; echo "$AYLLU_LAYOUT"'], capture_output=True, text=True).stdout
    assert Layout(**json.loads(said)) == Layout(tp=8, dp_shard=4, micro_batch=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "not a plan"),
        ('{"pools": [{"choices": []}]}', "has 0 choices"),
        ('{"pools": [{"choices": [{"layout": {"tp": 0}}]}]}', "tp is 0"),
        ('{"pools": [{"choices": [{"layout": {"warp": 9}}]}]}', "warp"),
        ('{"pools": [{"choices": [{"layout": {"dp_shard": 12}}]}]}', "no whole nodes"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_one_sentence(fleet: Command, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError, match=words):
        fleet(["launch", "smol", "--on", "slurm", "--plan", str(tmp_path / "plan.json"), "--dry-run"])


def test_no_client_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, ayllu.fleet.launch.records, ayllu.fleet.launch.ray_nodes, ayllu.cli.fleet.jobs; "
        "print([m for m in ('ray', 'sky', 'kubernetes', 'torch', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smol", "--on", "moon"], "no scheduler 'moon'"),
        (["smol", "--nodes", "0"], "nodes is 0"),
        (["smol", "--nodes", "2"], "this machine is one node"),
        (["smol", "--name", "Not_Good"], "small letters"),
        (["smol; rm -rf", "--on", "slurm"], "name"),
        (["smol", "--on", "kubernetes"], "--image"),
        (["smol", "--on", "skypilot", "--accelerators-per-node", "8"], "--accelerator"),
        (["smol", "--on", "ray", "--queue", "x"], "no use for --queue"),
        (["smol", "--env", "A"], "NAME=VALUE"),
        (["smol", "--account", "lab"], "no use for --account"),
        (["smol", "--on", "kubernetes", "--image", "x", "--qos", "high"], "no use for --qos"),
        (["smol", "--on", "ray", "--sbatch=--nice"], "no use for --sbatch"),
        (["smol", "--on", "slurm", "--hours", "nan"], "hours is nan"),
        (["smol", "--on", "slurm", "--hours", "inf"], "hours is inf"),
        (["smol", "--on", "slurm", "--install", "x"], "no use for --install"),
        (["smol", "--on", "slurm", "--account", "a b"], "account 'a b'"),
        (["smol", "--on", "slurm", "--sbatch", "nice"], "no option of sbatch"),
        (["smol", "--on", "slurm", "--sbatch=--comment='a"], "no option of sbatch"),
        (["smol", "--on", "slurm", "--sbatch=--nice\nrm -rf x"], "no option of sbatch"),
        (["smol", "--on", "slurm", "--sbatch=--nodes=3"], "use --nodes of"),
        (["smol", "--on", "slurm", "--sbatch=--nice -N3"], "use --nodes of"),
        (["smol", "--on", "slurm", "--sbatch=--acc=lab"], "use --account of"),
        (["smol", "--on", "slurm", "--sbatch=-HN4"], "several options in one word"),
        (["smol", "--on", "slurm", "--sbatch=--array=1-4"], "one torchrun on every node"),
        (["smol", "--on", "slurm", "--folder", r"/tmp/a\b"], "backslash"),
        (["smol", "--on", "slurm", "--folder", "/tmp/a\nb"], "line breaks"),
        (["smol", "--on", "ray", "--folder", "/tmp/it's"], "Ray's command line"),
        (["smol", "--", "--bogus"], "would refuse the options behind `--`.*--bogus"),
        (["smol", "--", "--budget", "ten"], "would refuse the options behind `--`.*ten"),
        (["smol", "--", "--budget"], "would refuse the options behind `--`.*--budget"),
        (["smol", "--", "stray"], "would refuse the options behind `--`.*stray"),
        (["cria", "--on", "slurm", "--dry-run", "--", "--chats", "x"], "would refuse the options.*--chats"),
        (["status", "nothing"], "no job 'nothing'"),
        (["cancel", "../up"], "no job"),
    ],
)
def test_what_cannot_be_launched_is_refused_in_one_sentence(
    fleet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        fleet(["launch", *words])
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_is_not_installed_is_named(
    fleet: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="'kubectl' is not installed here"):
        fleet(["launch", "smol", "--on", "kubernetes", "--image", "x", "--folder", str(tmp_path)])


def test_a_recipe_that_is_not_there_is_not_queued(fleet: Command, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe 'smool'; choose one of cria"):
        fleet(["launch", "smool", "--on", "slurm", "--folder", str(tmp_path), "--dry-run"])


def test_own_options_of_slurm_stand_in_the_script(
    fleet: Command, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["launch", "smol", "--on", "slurm", "--partition", "gpu", "--account", "lab", "--qos", "high"]
    fleet([*words, "--sbatch=--constraint=h100", "--sbatch", "#SBATCH -x n7 --gpus=16", "--dry-run", "--json"])
    script = json.loads(capsys.readouterr().out)["files"]["job.sbatch"]
    for line in ("--partition=gpu", "--account=lab", "--qos=high", "--constraint=h100", "-x n7 --gpus=16"):
        assert f"#SBATCH {line}\n" in script


def wheel_told(text: str | None, version: str = "1.2.3") -> object:
    """An installed package whose pip kept `text` as its origin (PEP 610)."""
    return type("Installed", (), {"version": version, "read_text": lambda self, name: text})()


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (None, "'ayllu[full]==1.2.3'"),
        (
            '{"url": "https://git.x.org/ayllu.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}',
            "'ayllu[full] @ git+https://git.x.org/ayllu.git@abc123'",
        ),
        ('{"url": "https://x.org/ayllu-1.whl", "archive_info": {}}', "'ayllu[full] @ https://x.org/ayllu-1.whl'"),
    ],
)
def test_another_machine_installs_what_this_one_was_installed_from(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, words: str
) -> None:
    monkeypatch.setattr(package_source, "_source_tree", lambda: None)
    monkeypatch.setattr(package_source.metadata, "distribution", lambda name: wheel_told(origin))
    found = package_source.package_source()
    assert (found.words, dict(found.mounts)) == (words, {})


def test_a_folder_or_a_wheel_of_this_machine_comes_along(
    tmp_path: Path, fleet: Command, capsys: pytest.CaptureFixture
) -> None:
    """The whole suite runs from a checkout, which no index has."""
    fleet(["launch", "smol", "--on", "skypilot", "--folder", str(tmp_path), "--dry-run", "--json"])
    made = yaml.safe_load(json.loads(capsys.readouterr().out)["files"]["task.yaml"])
    ((there, here),) = made["file_mounts"].items()
    assert (Path(here) / "src" / "ayllu" / "__init__.py").is_file()
    assert there.removeprefix("~/") in made["setup"] and "[full]" in made["setup"]
    wheel = tmp_path / "ayllu-1-py3-none-any.whl"
    wheel.touch()
    found = package_source.package_source(str(wheel))
    assert list(found.mounts.values()) == [str(wheel)] and wheel.name in found.words
    for gone in (str(tmp_path / "gone.whl"), str(tmp_path)):
        with pytest.raises(UserError, match="--install"):
            package_source.package_source(gone)
    assert package_source.package_source("ayllu[full]==0.2").words == "'ayllu[full]==0.2'"
