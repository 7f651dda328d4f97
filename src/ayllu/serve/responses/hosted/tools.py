"""Hosted tools as OpenAI's clients send them, what the model is told of them, and who runs them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from ayllu.serve.containers.kept import Containers
from ayllu.serve.errors import ApiError
from ayllu.serve.responses.hosted.mcp import McpOffer, McpTool, told_of_call
from ayllu.serve.state.items import Item
from ayllu.serve.turn.events import CallEnded
from ayllu.serve.vector_stores.body import RankingOptions, SearchBody
from ayllu.serve.vector_stores.filters import Filter
from ayllu.text.tool_calls import CODE_INTERPRETER, Tool

FILE_SEARCH = "file_search"
FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class AutoContainer(_Strict):
    """A container that the server makes, with files of the client in it."""

    type: Literal["auto"]
    file_ids: list[FileId] = Field([], max_length=50)
    memory_limit: Literal["1g"] | None = None
    """The only size there is here."""


class CodeInterpreterTool(_Strict):
    """Python in a sandbox: a new container, or by its id the one of an earlier call."""

    type: Literal["code_interpreter"]
    container: AutoContainer | FileId

    @property
    def name(self) -> str:
        """What the model calls."""
        return CODE_INTERPRETER


class FileSearchTool(_Strict):
    """A search in vector stores."""

    type: Literal["file_search"]
    vector_store_ids: list[FileId] = Field(min_length=1, max_length=16)
    filters: Filter | None = None
    max_num_results: StrictInt = Field(10, ge=1, le=50)
    ranking_options: RankingOptions = Field(default_factory=lambda: RankingOptions.model_validate({}))

    @property
    def name(self) -> str:
        """What the model calls."""
        return FILE_SEARCH


HostedTool = CodeInterpreterTool | FileSearchTool | McpTool
ITEMS = {CODE_INTERPRETER: "code_interpreter_call", FILE_SEARCH: "file_search_call"}
"""The type of a call's item, by the tool's name."""


def _takes(name: str, about: str) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": about}}
    return {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}


DEFINITIONS = {
    CODE_INTERPRETER: Tool(
        name=CODE_INTERPRETER,
        description="Run Python code and read what it prints",
        parameters=_takes("code", "The program"),
    ),
    FILE_SEARCH: Tool(
        name=FILE_SEARCH,
        description="Search the user's files for passages",
        parameters=_takes("query", "What to look for"),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFile:
    """A file that a program has written, in its container."""

    id: str
    container: str
    path: str
    """Below the work folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A call that has ended."""

    item: Item
    files: Sequence[MadeFile] = ()
    """What it has written."""


class Toolbox(Protocol):
    """The hosted tools of one response."""

    @property
    def mcp(self) -> McpOffer:
        """The tools of MCP servers."""
        ...

    @property
    def opening(self) -> Sequence[Item]:
        """What is told before anything is computed: lists of tools that the client has not seen."""
        ...

    @property
    def approved(self) -> Sequence[Item]:
        """Calls that were approved: the first to be run."""
        ...

    def begin(self, call: CallEnded) -> Item:
        """The item of a call that begins; a request for approval is not run."""
        ...

    async def run(self, item: Item) -> Ran:
        """Run it; the item as it ended, failures too."""
        ...


class HostedTools(Protocol):
    """Runs hosted tools; the gateway has one, or refuses them."""

    @property
    def servers(self) -> Sequence[str]:
        """The labels of the MCP servers that everybody may use without knowing where they are."""
        ...

    @property
    def containers(self) -> Containers:
        """Where programs run."""
        ...

    async def toolbox(
        self, tools: Sequence[HostedTool], *, owner: str, past: Sequence[Item], functions: Sequence[str] = ()
    ) -> Toolbox:
        """What runs the tools of a response of `owner`; ApiError where something that they name is not there.

        `functions` are the names of the client's own.
        """
        ...

    def close(self) -> None:
        """End what it has started."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What hosted tools may reach of the gateway, always for an owner."""

    search: Callable[[str, str, SearchBody], Awaitable[list[dict[str, Any]]]]
    """Passages of a vector store: owner, id, and what is looked for. Raises ApiError."""
    file: Callable[[str, str], Awaitable[tuple[str, bytes]]]
    """Name and content of a file: owner and id. Raises ApiError."""
    store: Callable[[str, str], Awaitable[None]]
    """Raises ApiError where an owner has no such vector store, or it cannot be searched."""


HostedFactory = Callable[[Sources], HostedTools]


def refused(tool: HostedTool) -> ApiError:
    """This server runs no tools."""
    words = f"{tool.type}: this server runs no tools itself; start it with `ayllu serve --tools`, or leave them out"
    return ApiError(400, words, param="tools")


def called(item: Item) -> tuple[str, dict[str, Any], str] | None:
    """Tool, arguments and result of an item of a hosted call, as the model is told of them; None for other items."""
    if item["type"] == "code_interpreter_call":
        logs = [entry["logs"] for entry in item.get("outputs") or () if entry["type"] == "logs"]
        return CODE_INTERPRETER, {"code": item.get("code") or ""}, "\n".join(logs)
    if item["type"] == "mcp_call":
        return item["name"], _object(item["arguments"]), told_of_call(item)
    if item["type"] == "file_search_call":
        results = item.get("results") or ()
        texts = [f"[{one.get('filename', 'a file')}] {one['text']}" for one in results if one.get("text")]
        queries = item["queries"] or [""]
        nothing = "error: the search failed" if item.get("status") == "failed" else "nothing was found"
        return FILE_SEARCH, {"query": queries[0]}, "\n\n".join(texts) or nothing
    return None


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
