"""All attempts, inside and out: which there are, how each is made, and what is said of it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ayllu.sandbox import bubblewrap, cgroup, seccomp
from ayllu.sandbox.escapes.host import Canaries
from ayllu.sandbox.outcome import Limits, Outcome
from ayllu.sandbox.session import Session

GROUPS = (
    *("files", "links", "network", "environment", "kernel", "devices", "takings", "processes", "namespaces", "calls"),
)
"""The modules of this folder that hold attempts."""
LIMITS = Limits(seconds=6, memory_mib=96, processes=24, work_mib=12, file_mib=4, output_kib=64, returned_mib=4)
SHORT = ("run_long", "run_long_deaf", "run_long_in_c", "sleep_long", "run_long_as_child", "write_forever")
"""Attempts to take more time than is allowed, for which 0.6 seconds are allowed."""
COUNTED = (
    *("many_processes", "bomb", "many_threads", "much_memory", "much_memory_in_pieces", "memory_of_children"),
    "shared_mapping",
)
"""Attempts that are made a second time without cgroups, as on machines that do not let us make any."""
LOOKS = 300
"""How often it is looked, a hundredth of a second apart, whether all processes of a closed sandbox are gone."""

RESULT = "result.json"
PROGRAM = f"""
import json, sys
from escapes import MODULE
told = {{"evidence": False, "error": None}}
try:
    told["evidence"] = MODULE.NAME(json.loads(sys.argv[1]))
except BaseException as error:
    told["error"] = f"{{type(error).__name__}}: {{error}}"
with open("/work/{RESULT}", "w") as file:
    json.dump(told, file)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """Something that a program may try."""

    group: str
    name: str
    tried: str
    unshown: str | None
    """Why it is not tried outside."""
    cgroups: bool = True

    @property
    def limits(self) -> Limits:
        """What it is allowed to take."""
        if self.name not in SHORT:
            return LIMITS
        fields = {name: getattr(LIMITS, name) for name in LIMITS.__dataclass_fields__}
        return Limits(**{**fields, "seconds": 0.6})


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of an attempt."""

    attempt: Attempt
    escaped: bool
    how: str
    """What held it, or what it found."""
    outside: bool | None
    """Whether it succeeds where nothing holds it; None where that was not tried."""
    shown: str
    """The same in words."""

    def told(self) -> dict[str, Any]:
        """As JSON says it."""
        one = self.attempt
        name = one.name if one.cgroups else f"{one.name}, without cgroups"
        return {
            "group": one.group,
            "name": name,
            "tried": one.tried,
            "held": not self.escaped,
            "how": self.how,
            "succeeds_outside": self.outside,
            "outside": self.shown,
        }


def attempts() -> list[Attempt]:
    """All of them, group by group."""
    found = []
    for group in GROUPS:
        module = import_module(f"ayllu.sandbox.escapes.{group}")
        unshown = getattr(module, "UNSHOWN", {})
        for name, function in _functions(module):
            one = Attempt(group=group, name=name, tried=inspect.getdoc(function) or "", unshown=unshown.get(name))
            found.append(one)
    again = [
        Attempt(group=one.group, name=one.name, tried=one.tried, unshown=one.unshown, cgroups=False)
        for one in found
        if one.name in COUNTED
    ]
    return found + again


def _functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, one in vars(module).items():
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_"):
            yield name, one


def machine() -> dict[str, Any]:
    """What the sandbox is made of here. Raises NoSandbox."""
    path = bubblewrap.require()
    version = subprocess.run([path, "--version"], capture_output=True, text=True, env={}).stdout.split()
    group = cgroup.make(LIMITS)
    group.remove()
    return {
        "bubblewrap": version[-1] if version else None,
        "architecture": seccomp.machine(),
        "cgroups": sorted(group.folders),
        "user_is_root": Path("/proc/self").stat().st_uid == 0,
    }


def run_suite(chosen: list[Attempt] | None = None, *, done: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """Make the attempts, or those that are `chosen`; `done` hears of each. Raises NoSandbox."""
    bubblewrap.require()
    results = []
    command = [sys.executable, "-m", "ayllu.sandbox.escapes.outside"]
    with (
        Canaries() as canaries,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=(canaries.inherited,)
        ) as process,
    ):
        outside = _Outside(process)
        for one in chosen if chosen is not None else attempts():
            canaries.restore()
            shown, words = outside.attempt(one, canaries)
            canaries.restore()
            escaped, how = _inside(one, canaries)
            results.append(Result(attempt=one, escaped=escaped, how=how, outside=shown, shown=words))
            done(results[-1])
        assert process.stdin
        process.stdin.close()
    return results


class _Outside:
    """The process that makes attempts without a sandbox."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._known: dict[str, tuple[bool, str]] = {}

    def attempt(self, one: Attempt, canaries: Canaries) -> tuple[bool | None, str]:
        if one.unshown:
            return None, f"not tried: {one.unshown}"
        if one.name not in self._known:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps([one.group, one.name, _host(one, canaries)]) + "\n")
            self._process.stdin.flush()
            told = json.loads(self._process.stdout.readline())
            if _found(told["evidence"], canaries) or canaries.touched():
                self._known[one.name] = True, "succeeds"
            else:
                self._known[one.name] = False, f"fails on this machine too: {told['error'] or 'it finds nothing'}"
        return self._known[one.name]


def _inside(one: Attempt, canaries: Canaries) -> tuple[bool, str]:
    """Whether an attempt in a sandbox succeeded, and how it was held or what it found."""
    host = {**_host(one, canaries), "outside": False, "work": bubblewrap.WORK}
    folder = Path(__file__).parent
    files = {f"escapes/{name}.py": (folder / f"{name}.py").read_bytes() for name in ("__init__", "prelude", one.group)}
    with Session(limits=one.limits, packages=(), cgroups=one.cgroups) as session:
        program = PROGRAM.replace("MODULE", one.group).replace("NAME", one.name)
        outcome = session.program(program, files=files, arguments=[json.dumps(host)])
        brought = {name: content for name, content in outcome.files.items() if name not in files}
        inside = session.processes()
    told = _told(brought.pop(RESULT, b""))
    if _found(told.get("evidence"), canaries):
        return True, "it was done"
    if touched := canaries.touched():
        return True, "; ".join(touched)
    if left := _outlived(inside):
        return True, f"{left} processes outlived the sandbox"
    if problem := _problem(one, outcome, brought, canaries):
        return True, problem
    if error := told.get("error"):
        return False, str(error)[:300]
    if outcome.status not in ("ok", "error"):
        return False, f"stopped: {outcome.error or outcome.status}"
    return False, outcome.notes[0] if outcome.notes else "it found nothing"


def _problem(one: Attempt, outcome: Outcome, brought: dict[str, bytes], canaries: Canaries) -> str | None:
    """What came out of the sandbox that should not have."""
    everything = [outcome.stdout.encode(), outcome.stderr.encode(), *brought.values(), *map(str.encode, brought)]
    if any(canaries.token.encode() in part for part in everything):
        return "the token came out"
    if len(outcome.stdout) + len(outcome.stderr) > 2 * one.limits.output_kib << 10 or "END-OF-OUTPUT" in outcome.stdout:
        return "more output was kept than is allowed"
    if sum(map(len, brought.values())) > one.limits.returned_mib << 20:
        return "more came back than is allowed"
    if any(name.startswith(("/", "..")) for name in brought):
        return "a file came back with a path that leaves its folder"
    return None


def _outlived(processes: list[int]) -> int:
    """How many of the processes that were in a sandbox are still there a moment after it was closed.

    Looks are counted, not seconds: where this process is stopped together with the others (a paused container), the
    clock goes on, and what was killed has had no time to end.
    """
    left = 0
    for _ in range(LOOKS):
        if not (left := sum(Path(f"/proc/{number}").exists() for number in processes)):
            break
        time.sleep(0.01)
    return left


def _found(evidence: object, canaries: Canaries) -> bool:
    """Whether what an attempt gives shows that it succeeded: text does where the token stands in it."""
    return canaries.token in evidence if isinstance(evidence, str) else evidence is True


def _told(content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _host(one: Attempt, canaries: Canaries) -> dict[str, Any]:
    return {**canaries.told(), **{name: getattr(one.limits, name) for name in one.limits.__dataclass_fields__}}
