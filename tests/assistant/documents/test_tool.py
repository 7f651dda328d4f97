"""The assistant's search of the user's documents: cited, or said not to be there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ayllu.assistant.documents.documents import Documents
from ayllu.assistant.documents.found import NOTHING
from ayllu.assistant.documents.tool import document_tools
from ayllu.assistant.tools.tool import ToolResult, call_tool


def test_there_is_no_tool_without_documents(tmp_path: Path) -> None:
    assert document_tools(tmp_path / "home") == []


def test_an_answer_is_cited_and_the_citation_opens(
    documents: Documents, folder: Path, tmp_path: Path, encoder: object
) -> None:
    documents.add([folder])
    documents.embed()
    [tool] = document_tools(tmp_path / "home", encoder=lambda: encoder)  # type: ignore[arg-type, return-value]
    assert not tool.effect and tool.untrusted and tool.ask == "never"

    def ask(query: str) -> ToolResult:
        return asyncio.run(call_tool(tool, {"query": query}))

    found = ask("ladder is borrowed")
    assert found.citations and found.citations[0].source == "garage.md"
    assert found.say is not None and "ladder is borrowed" in found.say
    assert documents.open(found.citations[0].place).passage == found.citations[0].passage
    nothing = ask("xylophone quantum")
    assert (nothing.text, nothing.citations) == (NOTHING, ())
    assert nothing.say == "That is not in your documents."
