"""The user's documents as a tool of the assistant: what it says is cited, or is not in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.assistant.documents.documents import Documents
from ayllu.assistant.documents.found import NEAR, NOTHING
from ayllu.assistant.tools.everyday import BUILT_IN
from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolResult, tool_of
from ayllu.assistant.tools.words import spans

if TYPE_CHECKING:
    from ayllu.serve.embeddings.embedder import Embedder

SHOWN = 3
"""Passages that the model reads."""
EXAMPLES = [
    ("What do my documents say about the warranty?", {"query": "the warranty"}),
    ("Look in my documents: when is the rent due?", {"query": "when is the rent due?"}),
    ("How long is the probation period in my contract?", {"query": "How long is the probation period in my contract?"}),
]


def document_tools(home: Path, *, encoder: Callable[[], Embedder] | None = None) -> list[RunnableTool]:
    """A search of the documents in `home`; none where there are none, since a tool too many confuses small models."""
    if not (home / "documents").is_dir():
        return []
    with Documents(home, encoder=encoder) as documents:
        if not documents.files():
            return []

    def search_documents(query: str) -> ToolResult:
        """Find what the user's own documents say, such as contracts, manuals and letters.

        Parameters
        ----------
        query
            What is asked, in words.
        """
        with Documents(home, encoder=encoder) as opened:
            found = opened.search(query, most=SHOWN)
        if not found.supported:
            return ToolResult(text=NOTHING, say="That is not in your documents.")
        near = [one for one in found.passages if one.cosine is None or one.cosine >= NEAR]
        cited = [Citation(source=one.source, place=one.citation, passage=one.text) for one in near]
        texts = [f"[{one.citation}] {one.source}: {one.text}" for one in found.passages]
        best = found.passages[0]
        return ToolResult(text="\n\n".join(texts), say=f"{best.source} [{best.citation}]: {best.text}", citations=cited)

    def whole_and_parts(words: str) -> Sequence[str]:
        """The whole message finds as well as its best part, and leaves a small model nothing to cut wrong."""
        return [words.strip(), *spans(words)]

    return [
        tool_of(
            search_documents,
            effect=False,
            untrusted=True,
            examples=EXAMPLES,
            choices={"query": whole_and_parts},
            source=BUILT_IN,
        )
    ]
