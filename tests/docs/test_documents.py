"""The documents say what is so: files, entries, dependencies, links, and the stops of the traces."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
STOP = re.compile(r"^\d+\. \[([\w/]+\.py):([\w.]+)\]\(\.\./src/ayllu/([\w/]+\.py)\): \S", re.MULTILINE)
"""A stop of a trace: its file, its function, and where the link leads."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """`docs/map.py`, which writes the map of files and the index of the log."""
    spec = importlib.util.spec_from_file_location("docs_map", ROOT / "docs" / "map.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def named(requirement: str) -> str:
    """The package that a requirement asks for."""
    return re.split(r"[=<>\[ ]", requirement)[0]


@pytest.mark.parametrize("name", ["design.md", "log.md"])
def test_written_parts_are_as_the_tree_is(writer: ModuleType, name: str) -> None:
    path = ROOT / "docs" / name
    assert path.read_text(encoding="utf-8") == writer.documents()[path], f"{name} is stale: python docs/map.py"


def test_the_map_names_every_file(writer: ModuleType) -> None:
    package = ROOT / "src" / "ayllu"
    words = set(writer.file_map().split())
    files = {path.stem for path in package.rglob("*.py") if not path.name.startswith("_")}
    folders = {f"{path.parent.name}/" for path in package.rglob("__init__.py") if path.parent != package}
    assert files | folders | {path.name for path in (package / "page").iterdir()} <= words


def test_every_entry_of_the_log_is_in_its_index_newest_first(writer: ModuleType) -> None:
    text = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("## ")]
    index = [line for line in text.splitlines() if re.match(r"\| \d{4}-", line)]
    assert len(entries) == len(index) > 0
    for entry, line in zip(entries, index, strict=True):
        date, title, verdict = writer.HEADING.match(entry).groups()
        assert line == f"| {date} | [{title}](#{writer.slug(entry[3:])}) | {verdict} |"
    assert [entry[3:13] for entry in entries] == sorted((entry[3:13] for entry in entries), reverse=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(writer: ModuleType, document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w/])(?:\.\./)*(?:shared|research)/", text), f"{document.name} points out of the clone"
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):  # what stands in code is no link
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), f"{document.name} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {writer.slug(heading) for heading in headings}, f"{document.name} links to {link}"


def test_the_table_of_dependencies_is_that_of_the_project(project: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = text.partition("## Dependencies")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row[2])]
    asked = {*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)}
    assert sorted(listed) == sorted({named(requirement) for requirement in asked} - {"ayllu"})
    bold = {name for row in rows for name in re.findall(r"\*\*`([\w-]+)`\*\*", row[2])}
    assert bold == {named(requirement) for requirement in project["dependencies"]}, (
        "bold: what `pip install ayllu` brings"
    )


def test_every_dependency_is_imported_somewhere(project: dict[str, Any]) -> None:
    modules = set().union(*(imported(path) for path in (ROOT / "src").rglob("*.py")))
    providers = packages_distributions()
    packages = {package.lower().replace("_", "-") for module in modules for package in providers.get(module, [])}
    needed = [*project["dependencies"], *project["optional-dependencies"]["full"]]
    assert {named(requirement) for requirement in needed} <= packages


def test_every_package_that_is_imported_is_declared(project: dict[str, Any]) -> None:
    extras = (
        "full",
        "assistant",
        "documents",
        "webrtc",
        "fast",
        "glasses",
        "ocr",
        "onnx",
        "postgres",
        "sweep",
        "team",
        "tensorboard",
        "tiers",
        "tracing",
    )
    asked = [*project["dependencies"], *(name for extra in extras for name in project["optional-dependencies"][extra])]
    declared = {named(requirement) for requirement in asked}
    brought = {
        "ray": "the job's own cluster has it",
        "h11": "uvicorn",
        "lm-eval": "the environment that `ayllu eval agree` makes has it",
        "executorch": "the environment that `ayllu export --to executorch` makes has it",
        "torchao": "the same",
        "pydantic-core": "pydantic",
        "pydantic-monty-client": "pydantic-monty",
        "transformers": "the card's example",
        "wandb": "whoever asks for its format has it",
    }
    distributions = packages_distributions()
    for path in (ROOT / "src").rglob("*.py"):
        for module in imported(path) - set(sys.stdlib_module_names) - {"ayllu", "__future__"}:
            packages = {package.lower().replace("_", "-") for package in distributions.get(module, [module])}
            assert packages & (declared | set(brought)), f"{path.name} imports {module}, which nothing declares"


def test_versions_are_ranges_and_the_lock_has_one_of_each_in_its_range(project: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "://" in line or line.startswith("-")], "no host, no option"
    locked = {requirement.name: requirement for requirement in map(Requirement, lines[2:])}
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    for requirement in map(Requirement, asked):
        if requirement.name == "ayllu":
            continue
        assert any(part.operator == ">=" for part in requirement.specifier), f"{requirement} has no lower bound"
        assert not any(part.operator == "==" for part in requirement.specifier), f"{requirement} belongs in the lock"
        (pin,) = locked[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "==" and requirement.specifier.contains(pin.version), requirement


def definitions(path: Path) -> set[str]:
    """Functions and classes of a module, and methods as CLASS.METHOD."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_stops_of_the_traces_exist() -> None:
    text = (ROOT / "docs" / "traces.md").read_text(encoding="utf-8")
    stops = STOP.findall(text)
    assert len(stops) == len(re.findall(r"^\d+\. ", text, re.MULTILINE)) > 30
    for path, name, link in stops:
        assert path == link
        assert name in definitions(ROOT / "src" / "ayllu" / path), f"{path} has no {name}: put docs/traces.md right"
    # What is mentioned on the way, with a class or without.
    everything = {name for path in (ROOT / "src").rglob("*.py") for name in definitions(path)}
    for name in re.findall(r"`([A-Z_]\w*\.\w+|[A-Z]\w+Engine)`", text):
        assert name in everything, f"docs/traces.md mentions {name}"
