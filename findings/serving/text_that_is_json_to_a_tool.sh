#!/usr/bin/env bash
# mcp 2.3.0: a tool whose parameter may be null, `text: str | None`, cannot be given a text that is JSON. The
# schema that the server hands out says string or null, the client sends a string, and the server parses it before it
# validates: an object or a list is refused with the words that a string was expected, and the text "null" arrives as
# None without a word. `text: str` takes all three as they are. Agents that write files, queries or patches meet this as
# soon as one of them is JSON; a parameter of `str | dict` changes its type.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > run.py <<'PY'
import asyncio
from importlib.metadata import version
from typing import Any

from mcp import Client
from mcp.server import MCPServer

server = MCPServer("notes")


def arrived(text: object) -> str:
    return f"arrives as {type(text).__name__}"


@server.tool()
def plain(text: str) -> str:
    return arrived(text)


@server.tool()
def nullable(text: str | None = None) -> str:
    return arrived(text)


@server.tool()
def either(text: str | dict[str, Any]) -> str:
    return arrived(text)


async def main():
    async with Client(server) as client:
        for tool in ("plain", "nullable", "either"):
            for text in ("hello", '{"a": 1}', "null"):
                result = await client.call_tool(tool, {"text": text})
                said = "refused, not a string" if result.is_error else result.content[0].text
                assert not result.is_error or "Input should be a valid string" in result.content[0].text
                print(f"mcp {version('mcp')}, tool {tool}, the text {text}: {said}", flush=True)


asyncio.run(main())
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c 'plain, .*arrives as str' seen)" = 3 ] && [ "$(grep -c 'the text hello: arrives as str' seen)" = 3 ]
grep -q 'nullable, the text {"a": 1}: refused' seen && grep -q "nullable, the text null: arrives as NoneType" seen
grep -q 'either, the text {"a": 1}: arrives as dict' seen && grep -q "either, the text null: refused" seen
