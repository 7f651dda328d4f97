"""Real clients against our server, side by side: what each of them does with it, and what breaks.

    python bench/serving/clients.py --model FOLDER [--engine auto] [--clients NAME…] [--keep]

Each client is installed in an environment of its own, in the version pinned here, and runs its program of
`client_programs/` against `ayllu serve`: a chat, a stream, tools that must be called (their arguments in pieces,
and a result handed back), structured output, errors of the right kind, and leaving, after which the server must stop
computing. Prints one JSON object, and keeps a record of it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keep import keep
from training.environments import FOLDER, python_with

CLIENTS: dict[str, tuple[str, ...]] = {
    "openai": ("openai==3.57.0",),
    "anthropic": ("anthropic==2.14.0",),
    "langchain": ("langchain-openai==1.7.4", "langchain-anthropic==1.7.10", "langchain-core==1.8.3"),
    "llama-index": ("llama-index-llms-openai-like==0.8.1", "llama-index-core==0.14.25"),
    "litellm": ("litellm==1.110.2",),
    "instructor": ("instructor==1.17.0",),
    "pydantic-ai": ("pydantic-ai-slim[openai,anthropic]==2.68.0",),
}
"""Packages from PyPI."""
NPM = (
    "openai@6.49.0",
    "@anthropic-ai/sdk@1.14.0",
    "ai@6.0.326",
    "@ai-sdk/openai@3.0.141",
    "@ai-sdk/openai-compatible@2.0.92",
    "zod@4.6.7",
)
"""Packages from npm."""
PROGRAMS = Path(__file__).resolve().parent / "client_programs"
CHECKS = ("chat", "stream", "tools", "structure", "error", "cancel")
LONGEST = 600.0
"""Seconds that the checks of one client may take."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of others."""

    name: str
    program: str
    peer: str
    """Of `CLIENTS`, or `npm`."""


ALL = (
    Client(name="openai (Python)", program="openai_python.py", peer="openai"),
    Client(name="openai (JavaScript)", program="openai_javascript.mjs", peer="npm"),
    Client(name="anthropic (Python)", program="anthropic_python.py", peer="anthropic"),
    Client(name="anthropic (JavaScript)", program="anthropic_javascript.mjs", peer="npm"),
    Client(name="AI SDK", program="ai_sdk_javascript.mjs", peer="npm"),
    Client(name="LangChain", program="langchain_python.py", peer="langchain"),
    Client(name="LlamaIndex", program="llama_index_python.py", peer="llama-index"),
    Client(name="LiteLLM", program="litellm_python.py", peer="litellm"),
    Client(name="Instructor", program="instructor_python.py", peer="instructor"),
    Client(name="Pydantic AI", program="pydantic_ai_python.py", peer="pydantic-ai"),
)


@contextmanager
def served(folder: Path, engine: str) -> Iterator[str]:
    """`ayllu serve`, as anybody runs it; gives its address."""
    command = [sys.executable, "-m", "ayllu.cli", "serve", str(folder), "--port", "0", "--engine", engine]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while not (found := re.search(r"http://\S+", line := process.stderr.readline())):
                if not line:
                    raise SystemExit("the server has ended")
            yield found[0]
        finally:
            process.kill()


def packages() -> Path:
    """The folder of the clients from npm, installed when they are not there."""
    folder = FOLDER / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = "\n".join(NPM)
    done = folder / "packages"
    if not done.exists() or done.read_text() != wanted:
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *NPM], cwd=folder, check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return folder


def tried(client: Client, url: str) -> dict[str, str]:
    """What came of each check of a client."""
    if client.peer == "npm":
        folder = packages()
        for program in PROGRAMS.glob("*.mjs"):  # modules are looked for beside the program
            shutil.copy(program, folder)
        command = ["node", str(folder / client.program), url]
    else:
        command = [str(python_with(client.peer, packages=CLIENTS[client.peer])), str(PROGRAMS / client.program), url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        told: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return dict.fromkeys(CHECKS, f"not done within {LONGEST:.0f} s")
    except (ValueError, IndexError):
        return dict.fromkeys(CHECKS, f"the program ended: {done.stderr[-300:]}")
    return told


def table(found: dict[str, Any]) -> str:
    """The clients and their checks, as a Markdown table."""
    rows = [f"| client | {' | '.join(CHECKS)} |", "|---|" + "---|" * len(CHECKS)]
    for name, told in found["clients"].items():
        cells = [told[check] if told[check] in ("ok", "not offered") else "fails" for check in CHECKS]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a release or of weights")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--url", help="a server that runs already, in place of one for --model")
    parser.add_argument("--clients", nargs="*", help="only those whose names hold one of these words")
    parser.add_argument("--keep", action="store_true", help="write bench/records/serving/clients.json")
    given = parser.parse_args()
    chosen = [one for one in ALL if not given.clients or any(word in one.name for word in given.clients)]
    if given.url:
        results = {one.name: tried(one, given.url) for one in chosen}
    else:
        with served(given.model, given.engine) as url:
            results = {one.name: tried(one, url) for one in chosen}
    cells = [cell for told in results.values() for cell in told.values()]
    passed, offered = cells.count("ok"), len(cells) - cells.count("not offered")
    found = {"engine": given.engine, "passed": passed, "checks": offered, "clients": results}
    if given.keep:
        versions = dict(one.split("==") for peer in CLIENTS.values() for one in peer)
        versions |= {f"npm:{name}": version for name, _, version in (one.rpartition("@") for one in NPM)}
        keep("serving/clients", found, rounds=[results], peers=versions)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
