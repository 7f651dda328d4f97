"""Our tools as an MCP server: for the clients of others, over stdin and stdout or HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ayllu.assistant.mcp.client import need_mcp
from ayllu.assistant.tools.tool import RunnableTool, ToolError, call_tool
from ayllu.lab.version import AYLLU_VERSION

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server


def mcp_server(tools: Sequence[RunnableTool]) -> Server[Any]:
    """A server that offers `tools`; what goes wrong in one is told to the client in its own words."""
    need_mcp()
    from mcp import types
    from mcp.server.lowlevel import Server

    by_name = {tool.name: tool for tool in tools}
    listed = [
        types.Tool(
            name=tool.name,
            description=tool.definition.description,
            input_schema=dict(tool.definition.parameters),
            annotations=types.ToolAnnotations(read_only_hint=not tool.effect, open_world_hint=tool.untrusted),
        )
        for tool in tools
    ]

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            if (tool := by_name.get(params.name)) is None:
                raise ToolError(f"there is no tool {params.name}")
            text, wrong = (await call_tool(tool, params.arguments or {})).text, False
        except ToolError as error:
            text, wrong = str(error), True
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=wrong)

    return Server("ayllu", version=AYLLU_VERSION, on_list_tools=list_tools, on_call_tool=call)


async def serve_stdio(server: Server[Any]) -> None:
    """Serve a client that has started this process, until it ends its input."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
