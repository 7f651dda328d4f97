"""Nothing gets out; and what would get out is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ayllu.sandbox import bubblewrap
from ayllu.sandbox.escapes import outside
from ayllu.sandbox.escapes.suite import attempts, run_suite

pytestmark = pytest.mark.usefixtures("sandbox")


def test_no_attempt_gets_out_and_most_are_shown_to_succeed_where_nothing_holds_them() -> None:
    results = run_suite()
    assert len(results) >= 60
    assert [result.told() for result in results if result.escaped] == []
    shown = [result for result in results if result.outside]
    assert len(shown) >= 60 and all(result.outside or len(result.shown) > 12 for result in results)


def test_what_an_attempt_forked_does_not_answer_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forks(_: Any) -> str:
        child = os.fork()
        if child == 0:
            raise BlockingIOError("no more processes")
        os.waitpid(child, 0)
        return "done"

    monkeypatch.setattr(outside, "import_module", lambda _: SimpleNamespace(forks=forks))
    assert outside._attempt("any", "forks", {}) == {"evidence": "done", "error": None}


def test_every_kind_of_attempt_that_was_asked_for_is_there() -> None:
    tried = " ".join(one.tried for one in attempts())
    for kind in ("TCP", "environment", "/proc", "disk", "fork", "memory", "longer", "signal", "link", "debugger"):
        assert kind in tried
    for kind in ("namespace", "output", "clock", "socket"):
        assert kind in tried


def test_a_hole_in_the_wall_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bubblewrap.arguments

    def holed(*given: Any, **more: Any) -> list[str]:
        """A sandbox that shows the host's temporary folder at its own place, for reading."""
        return [*whole(*given, **more), "--ro-bind", "/tmp", "/tmp"]

    monkeypatch.setattr(bubblewrap, "arguments", holed)
    (one,) = (one for one in attempts() if one.name == "read_by_path")
    (result,) = run_suite([one])
    assert result.escaped and result.how == "it was done"


def test_a_machine_that_stood_still_is_not_taken_for_processes_that_got_out() -> None:
    program = (
        "import sys; from ayllu.sandbox.escapes.suite import _outlived;"
        "print(flush=True); print(_outlived([int(sys.argv[1])]))"
    )
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as inside:
        command = [sys.executable, "-c", program, str(inside.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looks:
            assert looks.stdout
            looks.stdout.readline()
            time.sleep(0.3)
            looks.send_signal(signal.SIGSTOP)
            time.sleep(3.2)
            looks.send_signal(signal.SIGCONT)
            time.sleep(0.3)
            inside.kill()
            inside.wait()
            assert looks.stdout.read().strip() == "0"
