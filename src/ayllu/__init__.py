"""Ayllu: an open general-intelligence lab, from raw text to a released model and the machines behind it.

    import ayllu

    ayllu.adopt("smollm2")
    print(ayllu.load("smollm2").chat("What is the capital of France?"))

The names below are the whole public interface; each does what the command of its name does. Importing `ayllu` imports
none of the libraries that compute: a function does when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ayllu.lab.version import AYLLU_VERSION as __version__  # noqa: F401  part of the public interface

if TYPE_CHECKING:
    from ayllu.api.measuring import evaluate, profile
    from ayllu.api.models import Model, adopt, load
    from ayllu.api.planning import plan
    from ayllu.api.research import experiment, scale, sweep
    from ayllu.api.running import RunReport, accept, run, why
    from ayllu.lab.error import UserError

__all__ = [
    "Model",
    "RunReport",
    "UserError",
    "accept",
    "adopt",
    "evaluate",
    "experiment",
    "load",
    "plan",
    "profile",
    "run",
    "scale",
    "sweep",
    "why",
]
_PLACES = {
    "ayllu.api.measuring": ("evaluate", "profile"),
    "ayllu.api.models": ("Model", "adopt", "load"),
    "ayllu.api.planning": ("plan",),
    "ayllu.api.research": ("experiment", "scale", "sweep"),
    "ayllu.api.running": ("RunReport", "accept", "run", "why"),
    "ayllu.lab.error": ("UserError",),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
