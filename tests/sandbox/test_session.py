"""What a program in the sandbox can do, what stops it, and what is told of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ayllu.sandbox.files import checked, give, take
from ayllu.sandbox.outcome import Limits
from ayllu.sandbox.session import Session, run

pytestmark = pytest.mark.usefixtures("sandbox")
SMALL = Limits(seconds=10, memory_mib=128, processes=16, work_mib=8, file_mib=4, output_kib=16, returned_mib=4)


def state(process: int) -> str:
    """What the kernel says that it does: S it waits, T it is stopped, Z it has ended."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something holds within a few seconds: signals take their time."""
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(limits=SMALL) as session:
        yield session


def test_state_and_files_are_kept_from_cell_to_cell(session: Session) -> None:
    session.run("total = 0\nfor n in range(5):\n    total += n", files={"data/in.csv": b"a,b\n1,2\n"})
    outcome = session.run("open('out.txt', 'w').write(open('data/in.csv').read())\nprint('read')\ntotal * 2")
    assert (outcome.status, outcome.value, outcome.stdout) == ("ok", "20", "read\n")
    assert outcome.files == {"out.txt": b"a,b\n1,2\n"} and outcome.state_kept


def test_what_a_cell_removes_is_gone_also_from_the_next_sandbox(session: Session) -> None:
    session.run("1", files={"a.txt": b"1", "deep/b.txt": b"2", "c.txt": b"3"})
    gone = session.run("import os\nos.remove('a.txt')\nos.rename('deep', 'other')\nopen('c.txt', 'a').write('3')")
    assert gone.removed == ("a.txt", "deep/b.txt")
    assert session.files == {"other/b.txt": b"2", "c.txt": b"33"}
    session.cancel()
    found = session.run("import os\n(sorted(os.listdir()), os.listdir('other'))")
    assert found.value == "(['c.txt', 'other'], ['b.txt'])"


def test_an_error_is_told_as_python_tells_it_and_the_state_stays(session: Session) -> None:
    session.run("x = 1")
    outcome = session.run("def half(n):\n    return n / 0\nhalf(x)")
    assert outcome.status == "error"
    assert (
        outcome.error and "line 3" in outcome.error and outcome.error.endswith("ZeroDivisionError: division by zero\n")
    )
    assert "inside.py" not in outcome.error
    assert session.run("x").value == "1"


def test_a_cell_that_takes_too_long_is_interrupted_and_one_that_will_not_be_is_ended(session: Session) -> None:
    session.run("x = 1")
    outcome = session.run("while True: pass", seconds=0.3)
    assert outcome.status == "time" and outcome.state_kept and "0.3 seconds" in (outcome.error or "")
    session.run("open('kept.txt', 'w').write('mine')")
    deaf = session.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", seconds=0.3)
    assert deaf.status == "time" and not deaf.state_kept and "variables are lost" in (deaf.error or "")
    after = session.run("open('kept.txt').read()")
    assert after.value == "'mine'" and "variables from before are gone" in after.notes[0]
    assert session.run("x").status == "error"


@pytest.mark.parametrize("cgroups", [True, False])
def test_memory_and_processes_are_bounded_with_cgroups_and_without(cgroups: bool) -> None:
    fork = (
        "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        b = bytearray(b'x') * (60 << 20)\n"
        "        time.sleep(3)\n        os._exit(0)\nstates = [os.wait()[1] for _ in range(4)]\nstates"
    )
    with Session(limits=SMALL, packages=(), cgroups=cgroups) as session:
        outcome = session.run("len(bytearray(b'x') * (200 << 20))")
        assert outcome.status == "memory" and outcome.state_kept
        together = session.run(fork)
        assert together.status == "memory" or "9" in (together.value or "")
        many = session.run(
            "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        time.sleep(3)\ntime.sleep(1)"
        )
        assert many.status == "processes" or "BlockingIOError" in (many.error or "")


def test_output_is_cut_and_a_flood_ends_the_program(session: Session) -> None:
    long = session.run("print('x' * 40_000)")
    assert long.status == "ok" and len(long.stdout) == 16 << 10 and "first 16,384 bytes" in long.notes[0]
    assert session.run("while True: print('x' * 1000)").status == "output"


def test_figures_come_back_as_png_files() -> None:
    with Session(limits=Limits(seconds=60)) as session:
        code = (
            "import numpy as np, matplotlib.pyplot as plt\nplt.plot(np.arange(5) ** 2)\nplt.show()\nnp.arange(5).sum()"
        )
        outcome = session.run(code)
    assert outcome.value == "np.int64(10)" and outcome.stderr == ""
    assert len(outcome.pictures) == 1 and outcome.pictures[0].startswith(b"\x89PNG")


def test_a_program_has_its_arguments_its_stdin_and_its_exit_code() -> None:
    program = "import sys\nif __name__ == '__main__':\n    print(sys.argv, len(sys.stdin.read()))\n    sys.exit(3)"
    outcome = run(program, stdin="line\n" * 2000, arguments=["-v"], packages=())
    assert outcome.stdout == "['program.py', '-v'] 10000\n"
    assert (outcome.status, outcome.exit_code) == ("error", 3)
    assert run("import os; os._exit(0)", packages=()).status == "ok"
    crashed = run("import ctypes; ctypes.string_at(0)", packages=())
    assert crashed.status == "ended" and "signal 11" in (crashed.error or "")
    assert "SyntaxError" in run("def f(:", packages=()).stderr


def test_nothing_of_the_host_is_seen_and_nothing_outlives_a_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "abc")
    seen = session.run(
        "import os\n(os.environ.get('MY_SECRET'), os.getuid(), os.path.exists('/home'), os.listdir('.'))"
    )
    assert seen.value == "(None, 65534, False, [])"
    session.run("import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])")
    processes = session.processes()
    assert soon(
        lambda: sorted(map(state, processes)) in (["S", "T"], ["S", "T", "Z"])
    )  # two, and the one that was ended
    session.close()
    assert soon(lambda: not any(Path(f"/proc/{number}").exists() for number in processes))


def test_between_two_runs_nothing_computes(session: Session) -> None:
    session.run("import threading\ncount = 0\ndef go():\n    global count\n    while True: count += 1")
    session.run("threading.Thread(target=go, daemon=True).start()")
    (interpreter,) = session.processes()[1:]
    assert soon(lambda: state(interpreter) == "T")


def test_a_session_outlives_the_thread_that_began_it(session: Session) -> None:
    thread = threading.Thread(target=session.run, args=("x = 5",))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert session.run("x").value == "5"


def test_a_run_can_be_cancelled_from_another_thread(session: Session) -> None:
    session.run("1")
    threading.Timer(0.3, session.cancel).start()
    outcome = session.run("while True: pass")
    assert outcome.status == "cancelled"


def test_copies_follow_no_links_and_leave_no_folder(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.txt").write_text("a")
    (tmp_path / "secret").write_text("s")
    (tmp_path / "in/link").symlink_to(tmp_path / "secret")
    (tmp_path / "in/up").symlink_to(tmp_path)
    assert take(tmp_path / "in", most=100) == {"sub/a.txt": b"a"}
    with pytest.raises(ValueError, match="more than 0 bytes"):
        take(tmp_path / "in", most=0)
    for name in ("../x", "/x", "a/../x", "a//b", "", "a\nb", "."):
        with pytest.raises(ValueError, match="no path of a file"):
            checked(name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/away").symlink_to(tmp_path)
    with pytest.raises(OSError, match="away"):
        give(tmp_path / "out", {"away/secret": b"changed"})
    (tmp_path / "out/last").symlink_to(tmp_path / "secret")
    give(tmp_path / "out", {"last": b"new", "deep/er/file": b"x"})
    assert (tmp_path / "secret").read_text() == "s" and (tmp_path / "out/last").read_text() == "new"
    assert (tmp_path / "out/deep/er/file").read_bytes() == b"x"


def test_a_file_that_grows_beyond_its_bound_and_a_full_folder_are_errors_that_programs_can_meet(
    session: Session,
) -> None:
    large = session.run("open('large', 'wb').write(b'x' * (6 << 20))")
    assert "File too large" in (large.error or "") or "No space" in (large.error or "")
    full = session.run(
        "import os\nos.remove('large')\nfor n in range(9):\n    open(f'f{n}', 'wb').write(b'x' * (1 << 20))"
    )
    assert "No space left" in (full.error or "")
    assert any("stays inside" in note for note in full.notes)
