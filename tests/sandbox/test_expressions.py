"""Expressions in pydantic-monty."""

from __future__ import annotations

from ayllu.sandbox.expressions import evaluate
from support.parts import need_module

need_module("pydantic_monty", "expressions run in pydantic-monty")


def test_values_go_in_and_come_out() -> None:
    outcome = evaluate("print('on it')\nsum(prices) * (1 + rate)", variables={"prices": [2, 3.5], "rate": 0.1})
    assert (outcome.status, outcome.value, outcome.stdout) == ("ok", "6.050000000000001", "on it\n")


def test_errors_and_limits_are_told_apart() -> None:
    assert "ZeroDivisionError" in (evaluate("1 / 0").error or "")
    assert evaluate("while True: pass", seconds=0.1).status == "time"
    assert evaluate("'a' * 10 ** 9").status == "memory"
    assert "Expected an expression" in (evaluate("1 +").error or "")


def test_there_are_no_files() -> None:
    outcome = evaluate("open('/etc/hostname').read()")
    assert outcome.status == "error" and "PermissionError" in (outcome.error or "")
