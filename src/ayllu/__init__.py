"""Ayllu: an open general-intelligence lab, from raw text to a released model and the machines behind it.

    import ayllu

    ayllu.adopt("smollm2")
    print(ayllu.load("smollm2").chat("What is the capital of France?"))

The names below are the whole public interface; each does what the command of its name does. Importing `ayllu` imports
none of the libraries that compute: a function does when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ayllu.api import Model, RunReport, accept, adopt, evaluate, load, plan, run, why
    from ayllu.lab.error import UserError

__version__ = "0.1.0"
__all__ = ["Model", "RunReport", "UserError", "accept", "adopt", "evaluate", "load", "plan", "run", "why"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("ayllu.lab.error" if name == "UserError" else "ayllu.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
