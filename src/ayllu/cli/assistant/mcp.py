"""`ayllu assist mcp`: our tools for MCP clients of others."""

from __future__ import annotations

from pathlib import Path

from ayllu.api.home import find_home
from ayllu.cli.interrupt import run_async
from ayllu.cli.options import Home
from ayllu.lab.error import UserError
from ayllu.lab.progress import say


def mcp(
    *,
    folder: list[Path] | None = None,
    approve: list[str] | None = None,
    http: int | None = None,
    home: Home = None,
) -> None:
    """Offer the assistant's tools to MCP clients, over stdin and stdout.

    Only tools that read are offered, since nobody can be asked here; others where you name them.

    Parameters
    ----------
    folder
        A folder whose files clients may read; can be given several times.
    approve
        A tool with an effect that clients may call too; can be given several times.
    http
        A port on this machine to serve over HTTP instead, at /mcp; 0 takes a free one.
    """
    from ayllu.assistant.documents.tool import document_tools
    from ayllu.assistant.mcp.server import mcp_server, serve_stdio
    from ayllu.assistant.memory.memory import Memories, memory_tools
    from ayllu.assistant.tools.everyday import everyday_tools

    place = find_home(home)
    memories = Memories(place)
    tools = [*everyday_tools(place, tuple(folder or ())), *memory_tools(memories), *document_tools(place)]
    named = set(approve or ())
    if missing := sorted(named - {tool.name for tool in tools}):
        raise UserError(f"--approve {missing[0]}: there is no such tool; see `ayllu assist tools`")
    server = mcp_server([tool for tool in tools if not tool.effect or tool.name in named])
    if http is None:
        run_async(serve_stdio(server))
        return
    import uvicorn

    from ayllu.serve.network.listen import listen

    with listen("127.0.0.1", http) as listener:
        port = listener.getsockname()[1]
        say(f"MCP on http://127.0.0.1:{port}/mcp · Ctrl-C stops")
        config = uvicorn.Config(server.streamable_http_app(), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
