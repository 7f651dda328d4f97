"""From what the user calls a model to its driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ayllu.assistant.models.driver import Driver
from ayllu.assistant.models.guided import GuidedDriver
from ayllu.assistant.models.remote import RemoteDriver
from ayllu.assistant.tools.tool import RunnableTool

SMALL = 2_000_000_000
"""Parameters under which a model is guided unless the user says otherwise: smaller ones seldom call tools unguided."""
Guide = Literal["auto", "yes", "no"]


def open_driver(
    model: str, tools: Sequence[RunnableTool], *, home: Path, engine: str = "auto", guide: Guide = "auto"
) -> Driver:
    """The driver of `model`: a name or folder of this machine, or a URL, with #MODEL behind it for one of several.

    Servers are asked with the key in $AYLLU_API_KEY or $OPENAI_API_KEY. UserError where there is no such model.
    """
    if model.startswith(("http://", "https://")):
        url, _, name = model.partition("#")
        key = os.environ.get("AYLLU_API_KEY") or os.environ.get("OPENAI_API_KEY")
        remote = RemoteDriver(url, model=name or None, key=key)
        return GuidedDriver(remote, tools) if guide == "yes" else remote
    from ayllu.assistant.models.local import LocalDriver
    from ayllu.serve.source import FolderSource

    local = LocalDriver(FolderSource(model, home=home, engine=engine))
    small = guide == "yes" or (guide == "auto" and local.parameters < SMALL)
    return GuidedDriver(local, tools) if small else local
