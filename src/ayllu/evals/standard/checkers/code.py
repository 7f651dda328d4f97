"""Whether a program that a model wrote passes its tests. It runs only in a sandbox, and without one not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from ayllu.evals.standard.task import Row

SECONDS = 10.0
"""For one program with its tests; lm-eval's `code_eval` gives 3, without any isolation."""
MEMORY_MIB = 1024

LAST = """\
for output in (1, 2):
    try:
        __import__("os").write(output, bytes(reversed(b"{}")))
    except OSError:
        pass
"""
"""The last lines of a program. The word stands there backwards, so that a program which prints its own text, or the
constants in it, has not said it. It goes past `print` and `sys.stdout`, which a program may have made its own, and to
both outputs, of which one may be full or closed."""

Run = Callable[[str], tuple[bool, str]]
"""Runs a program: whether it came to its end by itself within its bounds, and what it wrote."""


def sandboxed(program: str) -> tuple[bool, str]:
    """A program in `ayllu.sandbox`. Raises `NoSandbox` where there is none: nothing runs then."""
    from ayllu.sandbox.session import run

    ended = run(program, seconds=SECONDS, memory_mib=MEMORY_MIB, packages=())
    return ended.status == "ok", f"{ended.stdout}\n{ended.stderr}"


def why_no_sandbox() -> str:
    """What is missing for one, in a sentence; empty where there is one."""
    from ayllu.sandbox.bubblewrap import require
    from ayllu.sandbox.outcome import NoSandbox

    try:
        require()
    except NoSandbox as missing:
        return str(missing)
    return ""


def passes(program: str, run: Run = sandboxed) -> bool:
    """Whether a program with its tests reaches its last line: one that leaves before with status 0 has passed none."""
    word = secrets.token_hex(16)
    ended, said = run(f"{program}\n\n{LAST.format(word[::-1])}")
    return ended and word in said


def humaneval_program(row: Row, text: str) -> str:
    """The function as it was begun and went on, and its tests (lm_eval/tasks/humaneval)."""
    return f"{row['prompt']}{text}\n{row['test']}\ncheck({row['entry_point']})"


def mbpp_program(row: Row, text: str) -> str:
    """The answer and its three assertions (lm_eval/tasks/mbpp)."""
    return "\n".join([text, *row["test_list"][:3]])


def mbpp_shot(row: Row) -> str:
    """A solved example."""
    return f"{mbpp_question(row)}{row['code']}\n[DONE]"


def mbpp_question(row: Row) -> str:
    """The task with its assertions, up to where the program begins."""
    tests = "\n".join(row["test_list"][:3])
    return (
        f"You are an expert Python programmer, and here is your task: {row['text']} "
        f"Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )
