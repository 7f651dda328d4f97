"""How large a file, a folder and a function may be, so that each can be read at a sitting."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = [ROOT / name for name in ("src", "tests", "bench", "docs", "deploy", "findings")]
LINES, FILES, FUNCTION = 450, 14, 25
"""At most: lines of a file, files of a folder beside what makes it a package, lines of nine functions in ten."""
WRITTEN_BY_HAND = (".c", ".css", ".h", ".html", ".js", ".py")


def files() -> Iterator[Path]:
    """What stands in the repository, without what Python and pip leave beside it."""
    for place in PLACES:
        for path in place.rglob("*"):
            made = any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
            if path.is_file() and not made and not path.name.startswith("."):
                yield path


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_no_file_is_longer_than_one_reads_at_a_sitting() -> None:
    code = {path: lines(path) for path in files() if path.suffix in WRITTEN_BY_HAND}
    # A library of others says so in its first line, as bundlers write it; nobody reads it here.
    long = {
        str(path.relative_to(ROOT)): len(text) for path, text in code.items() if not text[:1] or text[0][:3] != "/*!"
    }
    assert len(long) > 500
    assert {path: count for path, count in long.items() if count > LINES} == {}, "part it by what it is about"


def test_no_folder_holds_more_files_than_one_sees_at_a_glance() -> None:
    count = Counter(path.parent.relative_to(ROOT) for path in files() if path.name != "__init__.py")
    assert len(count) > 100
    assert {str(folder): n for folder, n in count.items() if n > FILES} == {}, "give some a folder of their own"


@pytest.mark.parametrize("place", ["src", "tests"])
def test_most_functions_fit_on_half_a_screen(place: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    sizes = sorted(
        node.end_lineno - node.lineno + 1
        for path in (ROOT / place).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, functions) and node.end_lineno is not None
    )
    assert sizes[int(len(sizes) * 0.9)] <= FUNCTION


def test_no_imports_go_in_a_circle() -> None:
    """Those within functions and for types alone too."""
    graph = grimp.build_graph("ayllu", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 500
    TopologicalSorter(imports).prepare()  # raises where there is one, and names it
