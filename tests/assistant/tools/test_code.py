"""The code interpreter: real programs in the real sandbox, with the user's files as copies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.assistant.tools.code import code_tool
from ayllu.assistant.tools.files import Folders
from ayllu.assistant.tools.tool import RunnableTool, ToolError, ToolResult, call_tool
from ayllu.sandbox.outcome import NoSandbox
from ayllu.sandbox.session import Session
from support.parts import need


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[RunnableTool]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "shop.csv").write_text("price\n2\n3.5\n")
    with Session() as session:
        try:
            session.run("1")
        except NoSandbox as error:
            need(None, str(error))
        yield code_tool(session, Folders([tmp_path / "in"]), tmp_path / "out")


def run(tool: RunnableTool, code: str) -> ToolResult:
    return asyncio.run(call_tool(tool, {"code": code}))


def test_it_computes_with_copies_of_files_keeps_state_and_brings_files_back(tool: RunnableTool, tmp_path: Path) -> None:
    first = run(tool, "import csv\nprices = [float(r['price']) for r in csv.DictReader(open('shop.csv'))]\nsum(prices)")
    assert first.text == "5.5"
    again = run(tool, "open('shop.csv', 'w').write('gone')\nprint(max(prices))")
    assert again.text.startswith("3.5") and (tmp_path / "in" / "shop.csv").read_text().startswith("price")
    assert [Path(cited.source).read_text() for cited in again.citations] == ["gone"]


def test_what_goes_wrong_in_a_program_is_told(tool: RunnableTool) -> None:
    with pytest.raises(ToolError, match="ZeroDivisionError"):
        run(tool, "1 / 0")
    assert not tool.effect and tool.untrusted


def test_a_program_that_gives_up_says_so_and_why(tool: RunnableTool) -> None:
    assert run(tool, "import sys\nsys.exit(3)").text == "it left with exit code 3"
    given_up = run(tool, "import sys\nprint('read 2 rows')\nsys.exit('the prices are missing')").text
    assert given_up == "read 2 rows\nthe prices are missing\nit left with exit code 1"
    assert run(tool, "import sys\nsys.exit()").text == "it ran, and printed nothing"


def test_without_a_sandbox_nothing_runs(tmp_path: Path) -> None:
    class Missing:
        def run(self, code: str, **_: object) -> object:
            raise NoSandbox("bubblewrap is missing, so nothing was run: apt-get install bubblewrap")

        def close(self) -> None:
            pass

    with pytest.raises(ToolError, match="bubblewrap is missing"):
        run(code_tool(Missing(), None, tmp_path), "1")  # type: ignore[arg-type]
