"""What a test needs beside Python: where it is missing a laptop passes the test over, and CI fails.

CI says so by `CI=true`, as `.ci/run` sets it. What CI can never have (a GPU) is a plain skip.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pytest


def need(part: object, reason: str) -> None:
    """Go on where `part` is there. Else skip the test, or the module that asks on import; in CI fail it."""
    if part:
        return
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def need_module(name: str, reason: str) -> Any:
    """The module `name`, as `need` has it."""
    try:
        return import_module(name)
    except ImportError:
        need(None, reason)
