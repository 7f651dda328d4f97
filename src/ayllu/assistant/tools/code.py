"""The code interpreter: Python in the sandbox, with copies of the files that the user allowed; state stays for a while.

It reaches neither the network nor files of the machine, so that nothing but its own copies can be changed by it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ayllu.assistant.tools.files import Folders
from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolError, ToolResult, tool_of
from ayllu.sandbox.files import checked
from ayllu.sandbox.outcome import NoSandbox, Outcome
from ayllu.text.tool_calls import CODE_INTERPRETER

MOST_BYTES = 16 << 20
"""Of the files that are copied into it."""


class Interpreter(Protocol):
    """Runs cells, each with what those before have left."""

    def run(self, code: str, *, files: Mapping[str, bytes] | None = None, seconds: float | None = None) -> Outcome:
        """Run a cell. Raises NoSandbox."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class CodeTool:
    """One interpreter, started when it is first called."""

    def __init__(self, interpreter: Interpreter, folders: Folders | None, out: Path) -> None:
        """What programs draw and write is put into `out`."""
        self._interpreter, self._folders, self._out = interpreter, folders, out
        self._given = False
        self._lock = threading.Lock()

    def code_interpreter(self, code: str) -> ToolResult:
        """Run Python code with numpy and matplotlib; print what is asked for. The user's files are in the work folder.

        Parameters
        ----------
        code
            The program.
        """
        with self._lock:
            files = {} if self._given or self._folders is None else copies(self._folders)
            try:
                outcome = self._interpreter.run(code, files=files)
            except NoSandbox as error:
                raise ToolError(str(error)) from None
            self._given = True
        if outcome.error is not None:
            raise ToolError(f"{outcome.stdout}{outcome.error}"[-4000:])
        return ToolResult(text=told(outcome), citations=self._kept(outcome))

    def _kept(self, outcome: Outcome) -> list[Citation]:
        """Pictures and files that came back, each under a name of its own."""
        made = {f"picture-{number}.png": picture for number, picture in enumerate(outcome.pictures, 1)}
        made |= {Path(name).name: content for name, content in outcome.files.items()}
        if not made:
            return []
        place = self._out / uuid.uuid4().hex[:8]
        place.mkdir(parents=True, mode=0o700)
        for name, content in made.items():
            (place / name).write_bytes(content)
        return [Citation(source=str(place / name)) for name in made]


def code_tool(interpreter: Interpreter, folders: Folders | None, out: Path) -> RunnableTool:
    """The tool. What it prints may be what others wrote, since it has their files."""
    tool = CodeTool(interpreter, folders, out)
    made = tool_of(
        tool.code_interpreter, name=CODE_INTERPRETER, effect=False, untrusted=True, seconds=60, source="built in"
    )
    return replace(made, guided=False)


def copies(folders: Folders) -> dict[str, bytes]:
    """The files that may be read, as far as they fit."""
    found: dict[str, bytes] = {}
    size = 0
    for name in folders.names():
        try:
            content = folders.find(checked(name)).read_bytes()
        except (ValueError, ToolError):  # a name that no file in the sandbox can have
            continue
        size += len(content)
        if size > MOST_BYTES:
            break
        found[name] = content
    return found


def told(outcome: Outcome) -> str:
    """What a model is told of a run."""
    parts = [outcome.stdout.rstrip(), outcome.value or "", *outcome.notes]
    parts += [f"[{len(outcome.pictures)} pictures were drawn]"] if outcome.pictures else []
    # A program that gives up by sys.exit raises nothing; why it did stands in what it wrote to stderr.
    parts += [outcome.stderr.rstrip(), f"it left with exit code {outcome.exit_code}"] if outcome.exit_code else []
    return "\n".join(part for part in parts if part) or "it ran, and printed nothing"
