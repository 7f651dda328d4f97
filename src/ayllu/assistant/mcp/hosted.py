"""MCP servers that clients of the gateway name: only those that the operator allows are gone to.

Each list and each call connects anew, so that nothing is left open where a response is given up.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ayllu.assistant.mcp.client import CALL_SECONDS, CONNECT_SECONDS, MOST_TOOLS, first_error, need_mcp, text_of, why
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError
from ayllu.serve.responses.hosted.mcp import LABEL, McpOffer, McpTool, approvals, failed
from ayllu.serve.responses.items import new_id
from ayllu.serve.state.items import Item
from ayllu.serve.turn.offered import offered_tool

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Tool as Listed

LONGEST = 100_000
"""Characters of a result that are kept."""
PORTS = {"http": 80, "https": 443}


class AllowedServers:
    """The servers that the operator allows: each a URL, or scheme://host:port for all of its paths.

    NAME=URL is offered to everybody by its name, and its URL, which may hold a secret, is told to nobody.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        """UserError for what is no such URL, or where the package is missing."""
        if urls:
            need_mcp()
        self._allowed = set()
        self.named: dict[str, str] = {}
        for given in urls:
            name, url = _named(given)
            place = _place(url)
            if place is None:
                raise UserError(f"--mcp-server {given[:200]} is no URL of a server; give http(s)://HOST:PORT/PATH")
            if name in self.named:
                raise UserError(f"--mcp-server has {name} twice; give each a name of its own")
            if name:
                self.named[name] = url
            else:
                self._allowed.add(place)

    def found(self, tool: McpTool) -> McpTool:
        """A tool with its server's URL. ApiError where the operator does not allow that server, or names none so."""
        if tool.server_url is None:
            if tool.server_label not in self.named:
                words = f"this server has no MCP server of the name {tool.server_label}; give its server_url"
                raise ApiError(400, f"mcp: {words}", param="tools")
            return tool.model_copy(update={"server_url": self.named[tool.server_label]})
        place = _place(tool.server_url)
        if place is None or not {place, (place[0], "")} & self._allowed:
            raise ApiError(
                400,
                f"mcp: this server may not go to the server_url of {tool.server_label}; its operator allows one with "
                "`ayllu serve --tools --mcp-server URL`",
                param="tools",
            )
        return tool

    async def toolbox(self, tools: Sequence[McpTool], *, taken: Sequence[str], past: Sequence[Item]) -> McpToolbox:
        """The tools of servers, as they list them now. ApiError where one is not allowed, or lists nothing."""
        tools = [self.found(tool) for tool in tools]
        found = McpToolbox(taken, past)
        for tool in tools:
            found.add(tool, await _listed(tool))
        found.approve(past)
        return found


class McpToolbox:
    """The tools of the MCP servers of one response."""

    def __init__(self, taken: Sequence[str], past: Sequence[Item]) -> None:
        self._taken = set(taken)
        self._known = [item for item in past if item["type"] == "mcp_list_tools"]
        self._tools: dict[str, tuple[McpTool, str, bool]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._told: list[Any] = []
        self.opening: list[Item] = []
        self.approved: list[Item] = []

    @property
    def offer(self) -> McpOffer:
        """What the model is told."""
        return McpOffer(tools=self._told, names=self._names)

    def add(self, tool: McpTool, listed: Sequence[Listed]) -> None:
        """Offer what a server has listed, as far as the client wants it."""
        shown = []
        for one in listed:
            read_only = bool(one.annotations and one.annotations.read_only_hint)
            if not tool.offers(one.name, read_only):
                continue
            name = self._name(tool.server_label, one.name)
            self._tools[name] = (tool, one.name, read_only)
            self._names[tool.server_label, one.name] = name
            self._told.append(offered_tool(name, one.description, one.input_schema))
            notes = one.annotations.model_dump(by_alias=True, exclude_none=True) if one.annotations else None
            about = {"name": one.name, "description": one.description, "input_schema": one.input_schema}
            shown.append({**about, "annotations": notes})
        list_of = {"server_label": tool.server_label, "tools": shown, "error": None}
        before = [item for item in self._known if item["server_label"] == tool.server_label]
        if not before or before[-1]["tools"] != shown:
            self.opening.append({"id": new_id("mcpl"), "type": "mcp_list_tools", **list_of})

    def approve(self, past: Sequence[Item]) -> None:
        """Take up the calls that were approved. ApiError where one is of no tool that is offered."""
        try:
            requests, _ = approvals(past)
        except ValueError as error:
            raise ApiError(400, f"input: {error}", param="input") from None
        for item in requests:
            if (item["server_label"], item["name"]) not in self._names:
                words = f"{item['name'][:100]} was approved, but tools does not offer it; give its server in tools"
                raise ApiError(400, f"input: {words}", param="tools")
            self.approved.append(_call(item["server_label"], item["name"], item["arguments"], approval=item["id"]))

    def has(self, name: str) -> bool:
        """Whether the model may call a tool of that name here."""
        return name in self._tools

    def begin(self, name: str, arguments: str) -> Item:
        """The item of a call: that of a request where it has to be approved."""
        tool, own, read_only = self._tools[name]
        if tool.asks(own, read_only):
            asked = {"server_label": tool.server_label, "name": own, "arguments": arguments}
            return {"id": new_id("mcpr"), "type": "mcp_approval_request", **asked}
        return _call(tool.server_label, own, arguments)

    async def run(self, item: Item) -> Item:
        """Make a call; the item as it ended."""
        tool, name, _ = self._tools[self._names[item["server_label"], item["name"]]]
        try:
            arguments = json.loads(item["arguments"])
            if not isinstance(arguments, dict):
                raise ValueError("the arguments are no JSON object")
            async with _connected(tool) as client:
                result = await client.call_tool(name, arguments)
            text = text_of(result)
        except Exception as error:
            return {**item, "status": "failed", "error": failed(why(error))}
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}\n[{len(text) - LONGEST:,} more characters are left out]"
        if result.is_error:
            return {**item, "status": "failed", "error": failed(text or f"{name} failed without a word")}
        return {**item, "status": "completed", "output": text}

    def _name(self, label: str, name: str) -> str:
        """What the model calls a tool: its own name where nothing else has it."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "_"
        found, number = plain, 1
        while found in self._taken:
            found = f"{label}_{plain}"[-64:] if number == 1 else f"{plain[:58]}_{number}"
            number += 1
        self._taken.add(found)
        return found


def _call(label: str, name: str, arguments: str, *, approval: str | None = None) -> Item:
    made = {"server_label": label, "name": name, "arguments": arguments, "output": None, "error": None}
    return {
        "id": new_id("mcp"),
        "type": "mcp_call",
        "status": "in_progress",
        "approval_request_id": approval,
        **made,
    }


def _named(given: str) -> tuple[str, str]:
    """Name and URL of NAME=URL; the name is empty where there is none."""
    name, equals, url = given.partition("=")
    return (name, url) if equals and re.fullmatch(LABEL, name) else ("", given)


def _place(url: str) -> tuple[tuple[str, str, int], str] | None:
    """Scheme, host and port, and path with query; None for what nobody should be sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None or parts.username or parts.password or parts.fragment or "\\" in url:
        return None
    path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return (parts.scheme, parts.hostname, port), path


@asynccontextmanager
async def _connected(tool: McpTool) -> AsyncGenerator[Client]:
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    assert tool.server_url is not None, "a tool of a named server has its URL by now"
    headers = dict(tool.headers or {})
    if tool.authorization is not None:
        headers["Authorization"] = f"Bearer {tool.authorization}"
    async with (
        asyncio.timeout(CALL_SECONDS),
        httpx2.AsyncClient(headers=headers, timeout=CALL_SECONDS) as http,
        Client(streamable_http_client(tool.server_url, http_client=http)) as client,
    ):
        yield client


async def _listed(tool: McpTool) -> list[Listed]:
    """What a server offers; ApiError as OpenAI's API has it where it says nothing."""
    found: list[Listed] = []
    cursor: str | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS), _connected(tool) as client:
            while True:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if len(found) > MOST_TOOLS:
                    raise ValueError(f"it has more than {MOST_TOOLS} tools")
                if cursor is None:
                    return found
    except Exception as error:
        reason = "it did not answer in time" if isinstance(first_error(error), TimeoutError) else why(error)
        words = f"the MCP server {tool.server_label} does not list its tools: {reason}"
        raise ApiError(424, words, param="tools", code="http_error") from None
