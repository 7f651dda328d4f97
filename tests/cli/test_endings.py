"""How commands end: what `docs/commands.md` says of exit codes, signals and streams, and never with a traceback."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ayllu.cli import main as command
from ayllu.lab.channel import promote
from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store, write_atomically

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"

SLOW = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has its children ignore it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so does nohup with this
from ayllu.cli.main import main
from ayllu.lab.error import Stopped
from ayllu.lab.graph import Context, stage
from ayllu.recipes.registry import RECIPES

@stage(identity="test.slow")
def slow(ctx: Context, *, stops: bool) -> None:
    if stops:
        raise Stopped("training: asked to stop; a checkpoint of step 3 is kept: start again to go on")
    Path(sys.argv[-1]).touch()
    time.sleep(60)

@RECIPES.add("slow")
def recipe(*, stops: bool = False):
    return slow(stops=stops)

main(["run", "slow", "--json", *sys.argv[1:-1]])
"""


def slow(*words: str, began: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, *words, str(began)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    surroundings = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
    return subprocess.Popen(command, text=True, env=surroundings | environment, **pipes)  # type: ignore[call-overload,no-any-return]


LOADS = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from ayllu.cli.assistant import talk
from ayllu.cli.main import main

def slow(*_, **__):
    Path(sys.argv[1]).touch()
    for _ in range(600):
        time.sleep(0.1)

talk.open_driver = slow
main(["assist", "--model", "any", "--once", "Hi", "--home", sys.argv[2]])
"""


def test_ctrl_c_ends_an_assistant_whose_model_is_still_loaded(tmp_path: Path) -> None:
    """Loading packs and compiles for a minute the first time, and awaits nothing."""
    began = tmp_path / "began"
    command = [sys.executable, "-c", LOADS, str(began), str(tmp_path)]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not began.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("ayllu: interrupted; start it again to go on\n") and "Traceback" not in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_a_signal_outside_training_ends_a_command_without_success(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = slow("--home", str(tmp_path), began=tmp_path / "began")
    while not (tmp_path / "began").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == "" and "Traceback" not in err
    assert number != signal.SIGINT or "ayllu: interrupted; start it again to go on" in err


def test_ctrl_c_while_the_commands_are_loaded_is_one_sentence_too(tmp_path: Path) -> None:
    """Loading takes seconds from a slow disk."""
    loading = tmp_path / "loading"
    stands_in = f"import time\nopen({str(loading)!r}, 'w')\nwhile True:\n    time.sleep(0.01)\n"
    (tmp_path / "cyclopts.py").write_text(stands_in)
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-m", "ayllu.cli", "run", "cria", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        # A shell in the background has its children ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not loading.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "\nayllu: interrupted; start it again to go on\n")
    assert process.returncode == 130


def test_a_training_that_was_told_to_leave_is_no_success_but_for_torchrun(tmp_path: Path) -> None:
    alone = slow("--stops", "--home", str(tmp_path), began=tmp_path / "began")
    worker = slow("--stops", "--home", str(tmp_path), began=tmp_path / "began", TORCHELASTIC_RUN_ID="job")
    for process, code in ((alone, 143), (worker, 0)):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (code, "")
        assert "a checkpoint of step 3 is kept" in err


def test_the_document_names_every_exit_code() -> None:
    rows = [line.split("|")[1].strip() for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "|" in line]
    named = {int(cell) for cell in rows if cell.isdigit()}
    assert named == {0, command.UNREAD, command.REFUSED, command.INTERRUPTED, command.TERMINATED}


def shell(line: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = f'ayllu() {{ {sys.executable} -m ayllu.cli "$@"; }}; {line}'
    surroundings = os.environ | {"AYLLU_HOME": str(home)} | environment
    return subprocess.run(["/bin/sh", "-c", program], capture_output=True, text=True, env=surroundings, timeout=60)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("ayllu fleet show h100 >&-", 2, "stdout cannot be written to (Bad file descriptor)"),
        ("ayllu fleet show h100 --json >/dev/full", 2, "stdout cannot be written to (No space left on device)"),
        ("ayllu --help >/dev/full", 2, "stdout cannot be written to"),
        ("ayllu fleet show h100 2>&-", 0, ""),
        ("ayllu fleet show nothing 2>&-", 2, ""),
        ("ayllu fleet show h100 <&- >&- 2>&-", 2, ""),
        ("ayllu fleet show nothing 2>/dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(line: str, code: int, said: str, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == code, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_locale_without_letters_changes_nothing(tmp_path: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    expected, done = (shell("ayllu fleet show größe", tmp_path, **more) for more in ({}, plain))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected.stderr)
    assert "größe" in done.stderr
    told = shell("ayllu fleet show größe", tmp_path, PYTHONIOENCODING="ascii")
    assert told.returncode == 2 and "gr\\xf6\\xdfe" in told.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "cria", "--name", "a" * 300),
        ("adopt", "smollm2", "--name", "a" * 300),
        ("chat", "a" * 300),
        ("chat", "b" * 300 + "/model"),
        ("why", "a" * 300),
        ("eval", "a" * 300, "--suite", "none", "--text", "a" * 300),
        ("chat", "~nobody-here/model"),
    ],
)
def test_a_name_that_no_file_can_have(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command.main([*words, "--home", str(tmp_path)])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) < 500


@pytest.mark.parametrize("words", [("chat", "cria"), ("why", "cria"), ("run", "cria")])
def test_no_home_directory(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    for variable in ("HOME", "AYLLU_HOME", "AYLLU_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(SystemExit) as end:
        command.main(list(words))
    assert end.value.code == 2
    assert "there is no home directory" in capsys.readouterr().err


@stage(identity="test.thing")
def thing(ctx: Context, *, trouble: str = "") -> None:
    (ctx.folder / "thing").touch()
    if trouble == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/data/source.bin", None, str(ctx.folder / "copy.bin"))


def test_a_full_disk_names_what_was_written_and_not_what_was_read(tmp_path: Path) -> None:
    handle: Handle[Path] = thing(trouble="full")
    with pytest.raises(UserError, match=r"copy\.bin: No space left on device") as refused:
        resolve(handle, Place(store=Store(tmp_path), cache=tmp_path))
    assert "source.bin" not in str(refused.value)


def test_a_disk_that_is_full_when_a_name_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, handle = Store(tmp_path), thing()
    folder = resolve(handle, Place(store=store, cache=tmp_path))[handle].folder
    promote(store, "thing", folder)
    kept = (tmp_path / "channels" / "thing.json").read_bytes()

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ayllu.lab.store.os.fsync", full)
    for name in ("thing", "other"):
        with pytest.raises(UserError, match=rf"channels/{name}\.json: No space left on device; make room"):
            promote(store, name, folder, made_by={"recipe": "x", "options": {}})
    with pytest.raises(OSError, match=r"file\.json"):
        write_atomically(tmp_path / "file.json", "{}")
    assert sorted(path.name for path in (tmp_path / "channels").iterdir()) == [".lock", "thing.json"]
    assert (tmp_path / "channels" / "thing.json").read_bytes() == kept


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
)
def test_too_little_memory_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*words: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(command, "app", refuse)
    with pytest.raises(SystemExit) as end:
        command.main(["chat"])
    assert end.value.code == 2
    assert "not enough memory" in capsys.readouterr().err


def test_a_fault_of_ours_still_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> None:
        raise RuntimeError("two shapes differ")

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(RuntimeError, match="two shapes differ"):
        command.main(["chat"])
