"""Write what the documents say of the tree and of each other: `python docs/map.py`; `--check` only looks.

The map of files in `design.md` comes from the folders of `src/ayllu/`, the first sentence of their docstrings and the
floors in `pyproject.toml`; the index of `log.md` from its headings. Each stands between two markers.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PACKAGE = ROOT / "src" / "ayllu"
WIDTH = 116
HEADING = re.compile(r"^## (\d{4}-\d\d-\d\d) · (.+) · ([^·]+)$")
"""A heading of the log: its date, its title and its verdict."""


def layers() -> list[str]:
    """The floors from the top down, as `pyproject.toml` names them; a room in parentheses is not built yet."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"][0]["layers"]


def sentence(place: Path) -> str:
    """The first paragraph of what a folder or a file says of itself."""
    start = place / "__init__.py" if place.is_dir() else place
    told = ast.get_docstring(ast.parse(start.read_text(encoding="utf-8"))) if start.exists() else None
    return (told or "").split("\n\n")[0].replace("\n", " ")


def folder_lines(folder: Path, depth: int = 0) -> list[str]:
    """A folder, its files, and the folders in it."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith(("_", ".")))
    modules = [path.stem for path in entries if path.suffix == ".py"]
    others = [path.name for path in entries if path.is_file() and path.suffix in (".js", ".html", ".css")]
    indent = "  " * depth
    lines = [f"{indent}{folder.name + '/':<{18 - len(indent)}}{sentence(folder)}".rstrip()]
    lines += textwrap.wrap(" ".join(modules + others), WIDTH, initial_indent=" " * 18, subsequent_indent=" " * 18)
    for path in entries:
        if path.is_dir() and any(path.rglob("*.py")):
            lines += folder_lines(path, depth + 1)
    return lines


def plain_files(folder: Path) -> str:
    """The names of the files of a folder that is no package."""
    return " ".join(sorted(path.name for path in folder.iterdir() if path.is_file()))


def file_map() -> str:
    """Every folder and file of the package, floor by floor."""
    floors, lines = layers(), []
    for number, layer in zip(reversed(range(len(floors))), floors, strict=True):
        lines.append(f"floor {number}")
        for room in (name.strip() for name in layer.split("|")):
            folder, file = PACKAGE / room.strip("()"), PACKAGE / f"{room}.py"
            if file.is_file():
                lines.append(f"{file.stem:<18}{sentence(file)}")
            else:
                lines += folder_lines(folder) if folder.is_dir() else [f"{room.strip('()')}/ (planned)"]
    lines += [
        "beside the floors",
        "page/             The chat page that serve hands out: no build step, nothing from elsewhere.",
        f"{'':18}{plain_files(PACKAGE / 'page')}",
        "  tools/          What the model's tools do, on that page: cards, questions, files, passages.",
        f"{'':18}{plain_files(PACKAGE / 'page' / 'tools')}",
    ]
    return "```\n" + "\n".join(lines) + "\n```"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def log_index(text: str) -> str:
    """A line for each entry: its date, its title with a link, and its verdict."""
    lines = ["| date | what was tried | verdict |", "|---|---|---|"]
    for heading in (line for line in text.splitlines() if line.startswith("## ")):
        found = HEADING.match(heading)
        if not found:
            raise SystemExit(f"docs/log.md: '{heading}' is no '## date · title · verdict'")
        date, title, verdict = found.groups()
        lines.append(f"| {date} | [{title}](#{slug(heading[3:])}) | {verdict} |")
    return "\n".join(lines)


def between(text: str, name: str, made: str) -> str:
    """`text` with `made` between the markers of `name`."""
    start, end = f"<!-- {name}: written by docs/map.py -->\n\n", f"\n\n<!-- end of {name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the markers of {name} are missing")
    return before + start + made + end + after


def documents() -> dict[Path, str]:
    """What each written document should hold."""
    design, log = DOCS / "design.md", DOCS / "log.md"
    told = log.read_text(encoding="utf-8")
    return {
        design: between(design.read_text(encoding="utf-8"), "map", file_map()),
        log: between(told, "index", log_index(told)),
    }


def main() -> None:
    stale = {path: text for path, text in documents().items() if path.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv and stale:
        raise SystemExit(f"stale, run python docs/map.py: {', '.join(path.name for path in stale)}")
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
