"""A driver that follows a script: for replaying traces without the model, and for measuring the guard without one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any

from ayllu.assistant.models.driver import Asked, ModelError, Turned, Words
from ayllu.assistant.session import message, text_of
from ayllu.serve.responses.items import new_id
from ayllu.serve.state.items import Item
from ayllu.serve.turn.reader import call_id

Script = Callable[[Asked], Turned]


class ScriptedDriver:
    """Takes the turns that `script` gives, one for each time it is asked."""

    def __init__(self, script: Script, *, name: str = "script") -> None:
        self._script, self.name = script, name

    async def turn(self, asked: Asked) -> AsyncGenerator[Words | Turned]:
        turned = self._script(asked)
        for item in turned.items:
            if item["type"] == "message":
                yield Words(text=text_of(item))
        yield turned

    async def close(self) -> None:
        """It holds nothing."""


def in_order(turns: Iterable[Turned]) -> Script:
    """The given turns, one after the other; ModelError behind the last."""
    left = iter(turns)

    def script(asked: Asked) -> Turned:
        for turned in left:
            return turned
        raise ModelError("the script is at its end")

    return script


def says(text: str) -> Turned:
    """A turn of words."""
    return Turned(items=[message("assistant", text)], written=len(text.split()))


def calls(*named: tuple[str, Mapping[str, Any]], say: bool = False) -> Turned:
    """A turn of calls."""
    return Turned(items=[call(name, arguments) for name, arguments in named], written=len(named), say=say)


def call(name: str, arguments: Mapping[str, Any]) -> Item:
    """A call as an item."""
    fields = {"call_id": call_id(), "name": name, "arguments": json.dumps(dict(arguments), ensure_ascii=False)}
    return {"id": new_id("fc"), "type": "function_call", "status": "completed", **fields}
