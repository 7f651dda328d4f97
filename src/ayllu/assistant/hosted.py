"""The tools that the gateway runs for its clients within a response: code, a search in files, and MCP servers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ayllu.assistant.containers import MOST_MINUTES, SandboxContainers, file_id
from ayllu.assistant.mcp.hosted import AllowedServers, McpToolbox
from ayllu.assistant.tools.code import told
from ayllu.sandbox.outcome import NoSandbox
from ayllu.serve.errors import ApiError
from ayllu.serve.responses.hosted.mcp import McpOffer, McpTool
from ayllu.serve.responses.hosted.tools import (
    CodeInterpreterTool,
    FileSearchTool,
    HostedTool,
    MadeFile,
    Ran,
    Sources,
    Toolbox,
)
from ayllu.serve.responses.items import new_id
from ayllu.serve.state.items import Item
from ayllu.serve.turn.events import CallEnded
from ayllu.serve.vector_stores.body import SearchBody
from ayllu.text.tool_calls import CODE_INTERPRETER


class ServerTools:
    """`HostedTools` of the gateway: containers, what is looked for in vector stores, and allowed MCP servers."""

    def __init__(self, sources: Sources, servers: AllowedServers | None = None) -> None:
        self._sources, self._servers = sources, servers or AllowedServers(())
        self.containers = SandboxContainers()

    @property
    def servers(self) -> Sequence[str]:
        return list(self._servers.named)

    async def toolbox(
        self, tools: Sequence[HostedTool], *, owner: str, past: Sequence[Item], functions: Sequence[str] = ()
    ) -> Toolbox:
        """Runs the tools of one response. ApiError for a container, a file or a server that is not there."""
        theirs = [tool for tool in tools if isinstance(tool, McpTool)]
        for server in theirs:
            self._servers.found(server)  # before anything is made
        for tool in tools:
            for store in tool.vector_store_ids if isinstance(tool, FileSearchTool) else ():
                await self._sources.store(owner, store)
        container = None
        for tool in tools:
            if isinstance(tool, CodeInterpreterTool):
                container = await self._container(tool, owner, past)
        search = next((tool for tool in tools if isinstance(tool, FileSearchTool)), None)
        taken = [tool.name for tool in tools if not isinstance(tool, McpTool)]
        servers = await self._servers.toolbox(theirs, taken=[*taken, *functions], past=past)
        return _Toolbox(self, owner, container, search, servers)

    def close(self) -> None:
        """End all containers."""
        self.containers.close()

    async def search(self, tool: FileSearchTool, owner: str, query: str) -> list[dict[str, Any]]:
        """The best passages of all stores of a tool."""
        given: dict[str, Any] = {
            "query": query[:4096] or " ",
            "max_num_results": tool.max_num_results,
            "ranking_options": tool.ranking_options,
            "filters": tool.filters,
        }
        body = SearchBody(**given)
        stores = dict.fromkeys(tool.vector_store_ids)
        found = [hit for store in stores for hit in await self._sources.search(owner, store, body)]
        best: dict[tuple[str, str], dict[str, Any]] = {}
        for hit in sorted(found, key=lambda hit: -hit["score"]):
            text = "\n".join(part["text"] for part in hit["content"])
            told = {name: hit[name] for name in ("attributes", "file_id", "filename", "score")}
            best.setdefault((hit["file_id"], text), {**told, "text": text})  # a file may be in several stores
        return list(best.values())[: tool.max_num_results]

    async def _container(self, tool: CodeInterpreterTool, owner: str, past: Sequence[Item]) -> str:
        """The container that a tool names, that of the conversation so far, or a new one."""
        if isinstance(tool.container, str):
            if not self.containers.has(owner, tool.container):
                words = f"there is no container {tool.container!r}; give {{'type': 'auto'}} for a new one"
                raise ApiError(404, words, param="tools")
            return tool.container
        files = dict([await self._sources.file(owner, number) for number in tool.container.file_ids])
        before = [item["container_id"] for item in past if item["type"] == "code_interpreter_call"]
        known = next((name for name in reversed(before) if self.containers.has(owner, name)), None)
        try:
            if known is None:
                return self.containers.create(owner, "auto", MOST_MINUTES, files).id
            for path, content in files.items():
                self.containers.put(owner, known, path, content)
        except ValueError as error:
            raise ApiError(400, f"code_interpreter: {error}", param="tools") from None
        return known


class _Toolbox:
    """The tools of one response."""

    def __init__(
        self,
        tools: ServerTools,
        owner: str,
        container: str | None,
        search: FileSearchTool | None,
        servers: McpToolbox,
    ) -> None:
        self._tools, self._owner, self._container, self._search = tools, owner, container, search
        self._servers = servers

    @property
    def mcp(self) -> McpOffer:
        return self._servers.offer

    @property
    def opening(self) -> Sequence[Item]:
        return self._servers.opening

    @property
    def approved(self) -> Sequence[Item]:
        return self._servers.approved

    def begin(self, call: CallEnded) -> Item:
        if self._servers.has(call.name):
            return self._servers.begin(call.name, call.arguments)
        arguments: Mapping[str, Any] = json.loads(call.arguments)
        if call.name == CODE_INTERPRETER:
            made: dict[str, Any] = {
                "code": str(arguments.get("code", "")),
                "container_id": self._container,
                "outputs": [],
            }
            return {"id": new_id("ci"), "type": "code_interpreter_call", "status": "in_progress", **made}
        fields: dict[str, Any] = {"queries": [str(arguments.get("query", ""))], "results": []}
        return {"id": new_id("fs"), "type": "file_search_call", "status": "in_progress", **fields}

    async def run(self, item: Item) -> Ran:
        if item["type"] == "code_interpreter_call":
            return await self._code(item)
        if item["type"] == "mcp_call":
            return Ran(item=await self._servers.run(item))
        assert self._search is not None
        try:
            results = await self._tools.search(self._search, self._owner, item["queries"][0])
        except ApiError:
            return Ran(item={**item, "status": "failed"})
        return Ran(item={**item, "status": "completed", "results": results})

    async def _code(self, item: Item) -> Ran:
        try:
            outcome = await self._tools.containers.run(self._owner, item["container_id"], item["code"])
        except (NoSandbox, KeyError) as error:
            words = str(error) if isinstance(error, NoSandbox) else "the container has ended"
            return Ran(item={**item, "status": "failed", "outputs": [{"type": "logs", "logs": words}]})
        logs = told(outcome) if outcome.error is None else f"{outcome.stdout}{outcome.error}"
        pictures = [
            {"type": "image", "url": f"data:image/png;base64,{base64.b64encode(picture).decode()}"}
            for picture in outcome.pictures
        ]
        place = item["container_id"]
        files = [MadeFile(id=file_id(place, path), container=place, path=path) for path in outcome.files]
        return Ran(
            item={**item, "status": "completed", "outputs": [{"type": "logs", "logs": logs}, *pictures]}, files=files
        )
