"""Whether what stands behind the python tag is a program: words may be valid Python too ("not sure", "yes; no")."""

from __future__ import annotations

import ast
import builtins
import warnings

_BINDING = (ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign, ast.NamedExpr, ast.FunctionDef, ast.comprehension)
"""What no sentence spells."""


def why_idle(code: str) -> str | None:
    """Why nobody would run `code`, in one clause; None where it is Python that does something: it calls what Python
    has or with a value, computes with a number, or binds a name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            nodes = list(ast.walk(ast.parse(code.strip())))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is no valid Python"
    if any(isinstance(node, _BINDING) or _computes(node) for node in nodes):
        return None
    return "it is no Python that does anything"


def _computes(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        known = isinstance(node.func, ast.Name) and hasattr(builtins, node.func.id)
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        return known or isinstance(node.func, ast.Attribute) or any(map(_holds_value, given))
    if isinstance(node, ast.Dict):
        return _holds_value(node)
    operands = [node.left, node.right] if isinstance(node, ast.BinOp) else []
    operands += [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    return any(isinstance(value, ast.Constant) and isinstance(value.value, int | float) for value in operands)


def _holds_value(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Constant) for part in ast.walk(node))
