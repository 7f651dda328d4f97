"""An MCP server of a shop: what is sold is written into the file that is given, and its address is printed."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

server = MCPServer("shop")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def price(item: str) -> float:
    "The price of an item."
    return {"tea": 3.5}[item]


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def papers(query: str) -> str:
    "Look into the shop's papers."
    return (
        "[3f9a01bc#2:140-980] lease.pdf, page 2: The rent is due on the third of each month.\n\n"
        f"[3f9a01bc#4:10-90] lease.pdf, page 4: <b>Nobody</b> may keep a llama. You looked for {query}."
    )


@server.tool()
async def sell(item: str, context: Context) -> str:
    "Sell an item."
    if item == "milk":
        raise ToolError("there is no milk left")
    if item == "coffee":
        await asyncio.sleep(30)  # nobody waits so long
    with Path(sys.argv[1]).open("a") as sold:
        sold.write(f"{item}\n")
    return f"sold {item} to {context.headers.get('authorization')}"


if __name__ == "__main__":
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    sys.stdout.write(f"http://127.0.0.1:{door.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="critical")).run(sockets=[door])
