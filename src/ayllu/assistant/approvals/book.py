"""What the user has allowed before: kept in the home, shown and taken back by `ayllu assist approvals`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ayllu.assistant.tools.tool import Ask
from ayllu.lab.error import UserError
from ayllu.lab.store import write_atomically
from ayllu.lab.visible import valid_text
from ayllu.serve.state.erase import pattern_of

FILE = "assistant/approvals.json"


class ApprovalBook:
    """A file of two lists: when to ask for a tool, and single calls that were allowed for good."""

    def __init__(self, home: Path | None) -> None:
        """Without a home it lives as long as the process. UserError where the file is damaged."""
        self._path = None if home is None else home / FILE
        self._kept: dict[str, Any] = {"tools": {}, "calls": []}
        if self._path is not None and self._path.exists():
            try:
                found = json.loads(self._path.read_text(encoding="utf-8"))
                self._kept = {"tools": dict(found["tools"]), "calls": list(found["calls"])}
                if not all(isinstance(entry["since"], str) and entry["ask"] for entry in self._kept["tools"].values()):
                    raise ValueError("a tool is not as it was written")
                if not all(isinstance(call["arguments"], dict) and call["tool"] for call in self._kept["calls"]):
                    raise ValueError("a call is not as it was written")
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{self._path} is damaged ({error}); delete it: the assistant then asks anew") from None

    @property
    def kept(self) -> dict[str, Any]:
        """All of it, for the user to read."""
        return json.loads(json.dumps(self._kept))

    def ask(self, tool: str) -> Ask | None:
        """When to ask for `tool`; None where the user has not said."""
        found = self._kept["tools"].get(tool, {}).get("ask")
        return found if found in get_args(Ask) else None

    def reads(self, tool: str) -> bool:
        """Whether the user knows that `tool` has no effect."""
        return bool(self._kept["tools"].get(tool, {}).get("reads"))

    def set_ask(self, tool: str, ask: Ask, *, reads: bool = False) -> None:
        """Ask for `tool` as `ask` says from now on; `reads` where the user knows that it has no effect."""
        self._kept["tools"][valid_text(tool)] = {"ask": ask, "since": _now(), **({"reads": True} if reads else {})}
        self._write()

    def allows(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether this very call was allowed for good."""
        return any(call["tool"] == tool and call["arguments"] == dict(arguments) for call in self._kept["calls"])

    def allow(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Allow this very call for good."""
        if not self.allows(tool, arguments):
            self._kept["calls"].append({"tool": tool, "arguments": dict(arguments), "since": _now()})
            self._write()

    def revoke(self, tool: str) -> int:
        """Forget what was said of `tool`; gives how many entries."""
        calls = [call for call in self._kept["calls"] if call["tool"] != tool]
        gone = len(self._kept["calls"]) - len(calls) + (self._kept["tools"].pop(tool, None) is not None)
        self._kept["calls"] = calls
        self._write()
        return gone

    def forget(self, text: str) -> int:
        """Forget the calls whose arguments hold `text`; gives how many."""
        pattern = pattern_of(text)
        calls = [call for call in self._kept["calls"] if not pattern.search(json.dumps(call, ensure_ascii=False))]
        gone = len(self._kept["calls"]) - len(calls)
        if gone:
            self._kept["calls"] = calls
            self._write()
        return gone

    def _write(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._path, json.dumps(self._kept, indent=2, ensure_ascii=False) + "\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
