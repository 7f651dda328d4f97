"""MCP both ways, over stdin and stdout and over HTTP, with servers and clients of both eras."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ayllu.assistant.loop import Agent
from ayllu.assistant.mcp.client import mcp_tools
from ayllu.assistant.models.scripted import calls, says
from ayllu.assistant.session import Session
from ayllu.assistant.steps import Decided
from ayllu.assistant.tools.everyday import everyday_tools
from ayllu.assistant.tools.tool import RunnableTool, ToolError, call_tool
from ayllu.lab.error import UserError
from support.parts import need_module

from ..conftest import run

need_module("mcp", "MCP needs the package mcp")
ROOT = Path(__file__).parents[3]

MODERN = """
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("shop")

@server.tool()
def price(item: str) -> float:
    "The price of an item."
    return {"tea": 3.5}[item]

@server.tool()
def colours() -> list[str]:
    "All colours."
    return []

@server.tool()
def sell(item: str) -> str:
    "Sell an item."
    raise ToolError(f"there is no {item} left")

server.run("stdio")
"""
OLD = """
import json, sys

for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked["method"], asked.get("params", {})
    if method == "initialize":
        info = {"name": "old", "version": "1"}
        reply = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    elif method == "tools/list":
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        reply = {"tools": [{"name": "calculate", "description": "Twice a number", "inputSchema": schema}]}
    elif method == "tools/call":
        reply = {"content": [{"type": "text", "text": str(2 * params["arguments"]["n"])}], "isError": False}
    elif "id" in asked:
        error = {"code": -32601, "message": "method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
        continue
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": reply}), flush=True)
"""


def program(place: Path, text: str) -> str:
    place.write_text(textwrap.dedent(text))
    return f"{sys.executable} {place}"


def ours(home: Path, *more: str) -> str:
    return " ".join(["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, "-m", "ayllu.cli", "assist", "mcp", *more])


def with_tools(servers: list[str], work: Callable[[dict[str, RunnableTool]], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with mcp_tools(servers, **options) as tools:
            return await work({tool.name: tool for tool in tools})

    return asyncio.run(main())


def test_tools_of_servers_of_both_eras(tmp_path: Path) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        assert list(tools) == ["price", "colours", "sell", "old_py_calculate"]
        assert (await call_tool(tools["price"], {"item": "tea"})).text == "3.5"
        assert (await call_tool(tools["colours"], {})).text == '{"result": []}'
        assert (await call_tool(tools["old_py_calculate"], {"n": 21})).text == "42"
        with pytest.raises(ToolError, match="there is no milk left"):
            await call_tool(tools["sell"], {"item": "milk"})
        assert all(tool.effect and tool.untrusted and tool.ask == "always" for tool in tools.values())

    servers = [program(tmp_path / "modern.py", MODERN), program(tmp_path / "old.py", OLD)]
    with_tools(servers, work, taken={"calculate"})


@pytest.mark.parametrize("command", ["/nowhere/at-all", f"{sys.executable} -c pass", "http://127.0.0.1:9/mcp"])
def test_a_server_that_is_none_is_a_sentence(command: str) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        raise AssertionError

    with pytest.raises(UserError, match=r"the MCP server .* cannot be used"):
        with_tools([command], work)


ENDLESS = OLD.replace('"inputSchema": schema}]}', '"inputSchema": schema}][:0], "nextCursor": "again"}')
SAME = OLD.replace(
    '[{"name": "calculate",',
    '[{"name": name, "inputSchema": {"type": "object"}} for name in ("a.b", "a b", "", "?")] + [{"name": "calculate",',
)


def test_a_server_whose_list_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        raise AssertionError

    monkeypatch.setattr("ayllu.assistant.mcp.client.CONNECT_SECONDS", 5.0)
    with pytest.raises(UserError, match="did not list its tools within 5 seconds"):
        with_tools([program(tmp_path / "endless.py", ENDLESS)], work)


def test_tools_of_one_name_are_told_apart(tmp_path: Path) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        assert list(tools) == [
            *("a_b", "same_py_a_b", "same_py__", "__2", "same_py_calculate"),
            *("a_b_2", "a_b_3", "__3", "__4", "calculate_2"),
        ]
        assert (await call_tool(tools["calculate_2"], {"n": 21})).text == "42"

    servers = [program(tmp_path / "same.py", SAME)] * 2
    with_tools(servers, work, taken={"calculate", "_"})


def test_an_error_of_the_callers_stays_what_it_is(tmp_path: Path) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        raise UserError("mine")

    with pytest.raises(UserError, match="mine"):
        with_tools([program(tmp_path / "old.py", OLD)], work)


def test_our_tools_over_stdio_only_those_that_read_unless_named(tmp_path: Path) -> None:
    async def work(tools: dict[str, RunnableTool]) -> None:
        assert "take_note" in tools and "set_reminder" not in tools
        assert (await call_tool(tools["calculate"], {"expression": "7 times 6"})).text == "42"
        await call_tool(tools["take_note"], {"text": "from far"})
        with pytest.raises(ToolError, match="divided by 0"):
            await call_tool(tools["calculate"], {"expression": "1 / 0"})

    with_tools([ours(tmp_path, "--home", str(tmp_path), "--approve", "take_note")], work)
    found = everyday_tools(tmp_path)
    assert "from far" in asyncio.run(call_tool(next(t for t in found if t.name == "find_note"), {"query": "far"})).text


@asynccontextmanager
async def served(home: Path) -> AsyncGenerator[str]:
    command = ours(home, "--home", str(home), "--http", "0").split()
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        found = re.search(r"http://\S+/mcp", line)
        assert found, line
        yield found[0]
    finally:
        process.terminate()
        await process.wait()


def test_our_tools_over_http_and_a_client_of_the_old_era(tmp_path: Path) -> None:
    import httpx2

    async def main() -> None:
        async with served(tmp_path) as url:
            async with mcp_tools([url]) as tools:
                tool = next(tool for tool in tools if tool.name == "convert")
                given = {"amount": "1", "from_unit": "km", "to_unit": "m"}
                assert (await call_tool(tool, given)).text == "1000 metres"
            headers = {"Accept": "application/json, text/event-stream"}
            async with httpx2.AsyncClient(headers=headers) as client:
                info = {"name": "x", "version": "1"}
                hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
                ask = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
                reply = await client.post(url, json=ask)
                assert '"protocolVersion":"2025-06-18"' in reply.text.replace(" ", "")
                far = await client.post(url, json=ask, headers={"Host": "evil.example"})
                assert far.status_code >= 400, "another site's page must not reach it"

    asyncio.run(main())


def test_what_a_server_says_of_its_tools_is_text_of_others(agent: Callable[..., Agent], session: Session) -> None:
    tools = everyday_tools(None)
    made = agent(tools, calls(("take_note", {"text": "tea"})), says("done"), untrusted=("MCP",))
    session.say("note tea")
    decided = next(step for step in run(made, session) if isinstance(step, Decided))
    assert not decided.allowed and "MCP" in decided.why
    made = agent(tools, calls(("take_note", {"text": "tea"})), says("done"), untrusted=("MCP",))
    made.gate.book.set_ask("take_note", "never", reads=True)
    session.say("note tea")
    assert next(step for step in run(made, session) if isinstance(step, Decided)).allowed
