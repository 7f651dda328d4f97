"""Tools of MCP servers: a program that speaks over stdin and stdout, or a URL; servers of both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ayllu.assistant.tools.tool import RunnableTool, ToolError, ToolResult
from ayllu.lab.error import UserError
from ayllu.lab.visible import visible
from ayllu.text.tool_calls import Tool

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult
    from mcp.types import Tool as Listed

MOST_TOOLS = 128
CONNECT_SECONDS = 30.0
CALL_SECONDS = 120.0


def need_mcp() -> None:
    """UserError where the package is missing."""
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise UserError("MCP needs the package mcp: pip install 'ayllu[assistant]'") from None


@asynccontextmanager
async def mcp_tools(
    servers: Sequence[str], *, taken: Collection[str] = (), token: str | None = None
) -> AsyncGenerator[list[RunnableTool]]:
    """The tools of `servers`, each a URL or a command line, while they are connected.

    All of them may have effects, since nobody but the server knows; names that are `taken` get the server's before
    them. `token` goes to URLs as a bearer's. UserError where one cannot be reached, or has no tools.
    """
    if not servers:
        yield []
        return
    need_mcp()
    ready: asyncio.Future[list[RunnableTool]] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()
    # A task of their own opens and ends the connections: their task groups would wrap every error of the caller's.
    keeping = asyncio.create_task(_keep(servers, set(taken), token, ready, done))
    try:
        yield await ready
    finally:
        done.set()
        await asyncio.gather(keeping, return_exceptions=True)


async def _keep(
    servers: Sequence[str],
    names: set[str],
    token: str | None,
    ready: asyncio.Future[list[RunnableTool]],
    done: asyncio.Event,
) -> None:
    """Connect to all servers, tell of their tools, and hold the connections until all is done."""
    tools: list[RunnableTool] = []
    try:
        async with AsyncExitStack() as stack:
            for server in servers:
                client = await _connected(stack, server, token)
                for listed in await _listed(client, server):
                    tool = _tool(client, server, listed, names)
                    names.add(tool.name)
                    tools.append(tool)
            ready.set_result(tools)
            await done.wait()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(first_error(error))


async def _connected(stack: AsyncExitStack, server: str, token: str | None) -> Client:
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    if not server.strip():
        raise UserError("--mcp is empty; give a command line or a URL")
    try:
        if server.startswith(("http://", "https://")):
            if token is not None:
                import httpx2
                from mcp.client.streamable_http import streamable_http_client

                http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=CALL_SECONDS)
                await stack.enter_async_context(http)
                made = Client(streamable_http_client(server, http_client=http))
            else:
                made = Client(server)
        else:
            command, *arguments = shlex.split(server)
            # What it writes on stderr is nobody's to put on the user's terminal.
            log = stack.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115
            made = Client(stdio_client(StdioServerParameters(command=command, args=arguments), errlog=log))
        async with asyncio.timeout(CONNECT_SECONDS):  # in this task, which has to be the one that ends it too
            return await stack.enter_async_context(made)
    except TimeoutError:
        raise UserError(f"the MCP server {_shown(server)} did not answer within {CONNECT_SECONDS:g} seconds") from None
    except Exception as error:
        raise UserError(f"the MCP server {_shown(server)} cannot be used: {why(error)}") from None


async def _listed(client: Client, server: str) -> list[Listed]:
    found: list[Listed] = []
    cursor: str | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while True:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if len(found) > MOST_TOOLS:
                    raise UserError(f"the MCP server {_shown(server)} has more than {MOST_TOOLS} tools")
                if cursor is None:
                    break
    except UserError:
        raise
    except TimeoutError:
        words = f"did not list its tools within {CONNECT_SECONDS:g} seconds"
        raise UserError(f"the MCP server {_shown(server)} {words}") from None
    except Exception as error:
        raise UserError(f"the MCP server {_shown(server)} does not list its tools: {why(error)}") from None
    return found


def _tool(client: Client, server: str, listed: Listed, taken: Collection[str]) -> RunnableTool:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", listed.name)[:64] or "_"
    name, number = plain, 1
    while name in taken:
        name = f"{_short(server)}_{plain}"[-64:] if number == 1 else f"{plain[:58]}_{number}"
        number += 1

    async def call(arguments: Mapping[str, Any]) -> ToolResult:
        result = await client.call_tool(listed.name, dict(arguments))
        text = text_of(result)
        if result.is_error:
            raise ToolError(text or f"{name} failed without a word")
        return ToolResult(text=text)

    return RunnableTool(
        definition=Tool(name=name, description=listed.description or "", parameters=dict(listed.input_schema)),
        function=call,
        seconds=CALL_SECONDS,
        source=f"MCP {_shown(server)}",
    )


def text_of(result: CallToolResult) -> str:
    """What a result says: its structured content where it has no words, since an empty list has none."""
    parts = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type == "resource" and hasattr(block.resource, "text"):
            parts.append(block.resource.text)
        else:
            parts.append(f"[{block.type}]")
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _short(server: str) -> str:
    if "://" in server:
        return re.sub(r"\W", "_", urlsplit(server).hostname or "mcp")
    return re.sub(r"\W", "_", shlex.split(server)[-1].rpartition("/")[2])[:24]


def _shown(server: str) -> str:
    """A server without a password that its URL may have."""
    if "://" not in server:
        return visible(server, longest=80)
    parts = urlsplit(server)
    return visible(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}", longest=80)


def why(error: BaseException) -> str:
    """The first reason in what may be a group of them."""
    error = first_error(error)
    return visible(str(error) or type(error).__name__, longest=200)


def first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
