"""Tools of MCP servers within a response: what clients ask for, what they may approve, and the items of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ayllu.serve.state.items import Item
from ayllu.text.tool_calls import Tool

LABEL = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
ID = r"^[A-Za-z0-9_.-]{1,128}$"
TAKEN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "authorization"})
"""Headers that say where a request goes and where it ends, and the one that has a field of its own."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class _Given(BaseModel):
    """What an item has beside the fields named here is what an answer of ours carried, and is ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


def _headers(value: dict[str, str] | None) -> dict[str, str] | None:
    for name, text in (value or {}).items():
        if name.lower() in TAKEN_HEADERS or not name.replace("-", "").isalnum() or not name.isascii():
            raise ValueError(f"the header {name[:64]!r} cannot be sent; a token goes into authorization")
        if len(text) > 4096 or not text.isascii() or not text.isprintable():
            raise ValueError(f"the header {name[:64]!r} needs a printable text of at most 4,096 characters")
    return value


class McpFilter(_Strict):
    """Some of a server's tools."""

    tool_names: list[str] | None = Field(None, max_length=128)
    read_only: bool | None = None
    """What the server says of them itself."""

    def takes(self, name: str, read_only: bool) -> bool:
        """Whether a tool is one of them."""
        named = self.tool_names is None or name in self.tool_names
        return named and self.read_only in (None, read_only)


class McpApprovals(_Strict):
    """Which tools are asked for; those that neither names are."""

    always: McpFilter | None = None
    never: McpFilter | None = None


class McpTool(_Strict):
    """The tools of an MCP server, which the operator has to allow."""

    type: Literal["mcp"]
    server_label: str = Field(pattern=LABEL)
    server_url: str | None = Field(None, min_length=1, max_length=2048)
    """Where it is; left out, it is the server that the operator has given the name `server_label`."""
    server_description: str | None = Field(None, max_length=4096)
    # Secrets of the client: neither kept nor told to anybody but the server.
    authorization: str | None = Field(None, max_length=16_384, pattern=r"^[\x21-\x7e]+$", exclude=True, repr=False)
    headers: Annotated[dict[str, str] | None, AfterValidator(_headers)] = Field(
        None, max_length=32, exclude=True, repr=False
    )
    allowed_tools: list[str] | McpFilter | None = None
    require_approval: Literal["always", "never"] | McpApprovals | None = None
    defer_loading: Literal[False] | None = None
    allowed_callers: list[Literal["direct"]] | None = None

    @property
    def name(self) -> str:
        """What tells it apart from other tools."""
        return f"mcp {self.server_label}"

    def offers(self, name: str, read_only: bool) -> bool:
        """Whether the model is told of a tool."""
        if isinstance(self.allowed_tools, McpFilter):
            return self.allowed_tools.takes(name, read_only)
        return self.allowed_tools is None or name in self.allowed_tools

    def asks(self, name: str, read_only: bool) -> bool:
        """Whether a call waits for approval: it does unless the client has said never."""
        wanted = self.require_approval
        if isinstance(wanted, McpApprovals):
            named = wanted.always is not None and wanted.always.takes(name, read_only)
            return named or wanted.never is None or not wanted.never.takes(name, read_only)
        return wanted != "never"


class McpChoice(_Strict):
    """A tool of an MCP server that has to be called; any of them without a name."""

    type: Literal["mcp"]
    server_label: str = Field(pattern=LABEL)
    name: str | None = Field(None, max_length=256)


@dataclass(frozen=True, kw_only=True)
class McpOffer:
    """The tools of all servers that a response names."""

    tools: Sequence[Tool] = ()
    """As the model is told of them."""
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What the model calls a tool, by the server's label and its own name."""

    def chosen(self, choice: McpChoice) -> frozenset[str]:
        """The tools that a choice stands for. Raises ValueError where there is none."""
        found = {told for (label, name), told in self.names.items() if label == choice.server_label}
        if choice.name is not None:
            found &= {self.names.get((choice.server_label, choice.name), "")}
        if not found:
            named = f" {choice.name}" if choice.name is not None else ""
            raise ValueError(f"the MCP server {choice.server_label} offers no tool{named}")
        return frozenset(found)


class McpListItem(_Given):
    """What a server offered."""

    id: Annotated[str, Field(pattern=ID)] | None = None
    server_label: str = Field(pattern=LABEL)
    tools: list[dict[str, Any]] = Field(max_length=1000)
    error: str | None = None

    def kept(self) -> Item:
        """The item as the API gives it back."""
        return {"type": "mcp_list_tools", "server_label": self.server_label, "tools": self.tools, "error": self.error}


class McpCallItem(_Given):
    """A call that the server made."""

    id: Annotated[str, Field(pattern=ID)] | None = None
    server_label: str = Field(pattern=LABEL)
    name: str = Field(min_length=1, max_length=256)
    arguments: str
    output: str | None = None
    error: dict[str, Any] | str | None = None
    approval_request_id: Annotated[str, Field(pattern=ID)] | None = None

    def kept(self) -> Item:
        """The item as the API gives it back."""
        status = "failed" if self.error is not None else "completed"
        error = failed(self.error) if isinstance(self.error, str) else self.error
        made = {"name": self.name, "arguments": self.arguments, "output": self.output, "error": error}
        given = {"server_label": self.server_label, "approval_request_id": self.approval_request_id}
        return {"type": "mcp_call", "status": status, **given, **made}


class McpRequestItem(_Given):
    """A call that waited for approval."""

    id: Annotated[str, Field(pattern=ID)]
    server_label: str = Field(pattern=LABEL)
    name: str = Field(min_length=1, max_length=256)
    arguments: str

    def kept(self) -> Item:
        """The item as the API gives it back."""
        made = {"server_label": self.server_label, "name": self.name, "arguments": self.arguments}
        return {"type": "mcp_approval_request", **made}


class McpResponseItem(_Given):
    """What the client says to a call that waits."""

    id: Annotated[str, Field(pattern=ID)] | None = None
    approval_request_id: Annotated[str, Field(pattern=ID)]
    approve: bool
    reason: str | None = Field(None, max_length=4096)

    def kept(self) -> Item:
        """The item as the API gives it back."""
        said = {"approve": self.approve, "reason": self.reason}
        return {"type": "mcp_approval_response", "approval_request_id": self.approval_request_id, **said}


def failed(text: str) -> dict[str, Any]:
    """Why a call has no result, as the API says it."""
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}


def told_of_call(item: Item) -> str:
    """What the model reads of a call."""
    if item.get("error") is not None:
        error = item["error"]
        parts = error.get("content") or [{"text": error.get("message", "")}]
        said = parts if isinstance(parts, list) else [{"text": str(parts)}]
        return "error: " + "".join(str(part.get("text", "")) for part in said if isinstance(part, Mapping))
    return str(item.get("output") or "")


def approvals(items: Sequence[Item]) -> tuple[list[Item], dict[str, Item]]:
    """Calls that were approved and not made yet, and by their ids the requests that were turned down.

    Raises ValueError for the answer to a request that is not there, and for two answers to one.
    """
    requests = {item["id"]: item for item in items if item["type"] == "mcp_approval_request"}
    made = {item.get("approval_request_id") for item in items if item["type"] == "mcp_call"}
    answers: dict[str, Item] = {}
    for item in items:
        if item["type"] == "mcp_approval_response":
            name = item["approval_request_id"]
            if name not in requests:
                raise ValueError(f"there is no approval request {name!r} in what was said before")
            if name in answers and answers[name]["approve"] != item["approve"]:
                raise ValueError(f"the approval request {name!r} has two answers")
            answers[name] = item
    approved = [requests[name] for name, item in answers.items() if item["approve"] and name not in made]
    return approved, {name: item for name, item in answers.items() if not item["approve"]}


def refusal(answer: Item) -> str:
    """What the model reads where its call was turned down."""
    return "error: the user did not allow this call" + (f": {answer['reason']}" if answer.get("reason") else "")
