"""Sums, exactly: written as Python, as people write them, or in words."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ayllu.assistant.tools.tool import ToolError, ToolResult

MOST_DIGITS = 400
"""Of a number on the way: more is nobody's sum."""
_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:what is|what's|what are|how much is|calculate|compute|work out|the result of|equals?)\b|[?=]", " "),
    (r"[×✕]|\b(?:times|multiplied by)\b|(?<=\d)\s*\bx\b\s*(?=\d)", "*"),
    (r"[÷]|\b(?:divided by|over)\b", "/"),
    (r"[−–]|\b(?:minus|less)\b", "-"),
    (r"\b(?:plus|and|added to)\b", "+"),
    (r"\bto the power(?: of)?\b|\^", "**"),
    (r"\bsquared\b", "**2"),
    (r"\bcubed\b", "**3"),
    (r"\b(?:the )?(?:square root|sqrt) of\s*(\d[\d.]*|\()", r"sqrt \1"),
    (r"\bhalf of\b", "0.5*"),
    (r"\ba third of\b", "1/3*"),
    (r"\ba quarter of\b", "0.25*"),
    (r"\b(?:double|twice)\b", "2*"),
    (r"(\d[\d.]*)\s*(?:%|per ?cent)\s*(?:of|off)\b", r"(\1/100)*"),
    (r"(\d[\d.]*)\s*(?:%|per ?cent)", r"(\1/100)"),
    (r"[$€£]|\b(?:the|a|of|euros?|dollars?)\b", " "),
)
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt,
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "sum": lambda *values: sum(values),
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "log": math.log,
    "log10": math.log10,
    "exp": math.exp,
    "floor": math.floor,
    "ceil": math.ceil,
}
_NAMES = {"pi": math.pi, "e": math.e}


def calculate(expression: str) -> ToolResult:
    """Work out a sum, such as 12% of 80 or (3 + 4) * 2.

    Parameters
    ----------
    expression
        The sum: numbers and + - * / ** %, sqrt, or words such as times and percent of.
    """
    value = evaluate(expression)
    shown = show(value)
    return ToolResult(text=shown, say=f"{expression.strip()} = {shown}")


def evaluate(expression: str) -> Fraction | float | int:
    """The value of a sum; ToolError where it is none."""
    text = re.sub(r"(?<=\d)[,_](?=\d{3}\b)", "", expression.lower().strip().rstrip("."))
    for pattern, written in _WORDS:
        text = re.sub(pattern, f" {written} " if not written.startswith("\\") else written, text)
    text = re.sub(r"\bsqrt\s+(\d[\d.]*)", r"sqrt(\1)", text.replace("* *", "**"))
    text = " ".join(text.split()).strip("+*/ ")
    if len(text) > 500:
        raise ToolError("the sum is too long")
    try:
        return _value(ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        raise ToolError("nothing can be divided by 0") from None
    except (SyntaxError, TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        why = str(error) if isinstance(error, ValueError) and not isinstance(error, SyntaxError) else "it is no sum"
        raise ToolError(f"{expression.strip()[:80]!r} cannot be worked out: {why}") from None


def show(value: Fraction | float | int, digits: int = 10) -> str:
    """A number as people read it: whole ones exactly, others with at most so many digits."""
    if isinstance(value, Fraction) and value.denominator == 1:
        value = value.numerator
    if isinstance(value, int):
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        raise ToolError("the result is no number")
    text = f"{number:.{digits}g}"
    return text if "e" in text or "." not in text else text.rstrip("0").rstrip(".")


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return Fraction(str(node.value))
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _small(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=values, keywords=[]) if name in _FUNCTIONS:
            return _called(name, [_value(value) for value in values])
    raise ValueError("it has something that is no number and no operation")


def _called(name: str, values: list[Any]) -> Any:
    if name == "round" and len(values) == 2:
        if abs(values[1]) > MOST_DIGITS:
            raise ValueError("it is rounded to too many digits")
        return round(values[0], int(values[1]))
    found = _FUNCTIONS[name](*values)
    return Fraction(found) if isinstance(found, int) else found


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
        digits = len(str(max(abs(base.numerator), base.denominator))) * abs(exponent.numerator)
        if digits > MOST_DIGITS:
            raise ValueError("the result has too many digits")
        return base ** int(exponent)
    found = float(base) ** float(exponent)
    if isinstance(found, complex):
        raise ValueError("the result is no real number")
    return found


def _small(value: Any) -> Any:
    if isinstance(value, Fraction) and value.numerator.bit_length() > 4 * MOST_DIGITS:
        raise ValueError("the result has too many digits")
    return value
