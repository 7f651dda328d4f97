"""What a session captures is written into the ledger before anything is done with it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Any

from ayllu.device.privacy.ledger import Ledger
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError

log = logging.getLogger("uvicorn.error")


class Captures:
    """The ledger of one session; without one nothing is written."""

    def __init__(self, ledger: Ledger | None, session: str) -> None:
        self._ledger, self._session = ledger, session

    async def note(self, what: str, why: str, went: Sequence[str], kept: str, **amount: Any) -> None:
        """Write a line; ApiError, and nothing is taken, where that cannot be."""
        if self._ledger is None:
            return
        told = [f"{name} on this machine" for name in went if name != "none"]
        content = {"what": what, **amount, "why": why, "went": told, "kept": kept, "session": self._session}
        run = asyncio.get_running_loop().run_in_executor
        try:
            await run(None, functools.partial(self._ledger.note, **content))
        except (UserError, OSError) as error:
            log.warning("nothing is taken: %s", error)
            raise ApiError(
                503, "the ledger cannot be written, so nothing was taken; free the disk of the server", code="no_ledger"
            ) from None
