"""Files in folders that the user allowed: list, read, summarise, and compute with the columns of a table."""

from __future__ import annotations

import csv
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ayllu.assistant.tools.calculator import show
from ayllu.assistant.tools.tool import Citation, ToolError, ToolResult
from ayllu.lab.visible import valid_text

MOST_BYTES = 16 << 20
MOST_FILES = 1000
TEXTS = (".txt", ".md", ".csv", ".tsv", ".json", ".py", ".html", ".log", ".yaml", ".yml", ".toml", ".rst", "")
Operation = Literal["sum", "average", "minimum", "maximum", "count", "median"]
_COMPUTE: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": lambda values: float(sum(values)),
    "average": statistics.fmean,
    "minimum": min,
    "maximum": max,
    "count": lambda values: float(len(values)),
    "median": statistics.median,
}


class Folders:
    """The files that the user allows to be read; nothing outside them is, by whatever path or link."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder.expanduser().resolve() for folder in folders]

    def list_files(self) -> ToolResult:
        """List the files that can be read."""
        names = self.names()
        return ToolResult(text="\n".join(names) or "there are no files", say="\n".join(names) or "There are no files.")

    def read_file(self, path: str) -> ToolResult:
        """Read a text file.

        Parameters
        ----------
        path
            The file's name.
        """
        file = self.find(path)
        text = self.text(file)
        return ToolResult(text=text, citations=[Citation(source=self.name(file), passage=text[:200])])

    def summarise_file(self, path: str) -> ToolResult:
        """Give the most telling sentences of a text file.

        Parameters
        ----------
        path
            The file's name.
        """
        file = self.find(path)
        sentences = key_sentences(self.text(file))
        text = " ".join(sentences) or "the file is empty"
        cited = [Citation(source=self.name(file), passage=sentence) for sentence in sentences]
        return ToolResult(text=text, say=text, citations=cited)

    def compute_column(
        self, path: str, column: str, operation: Operation, where_column: str = "", where_value: str = ""
    ) -> ToolResult:
        """Compute with a column of a CSV file: sum, average, minimum, maximum, count or median.

        Parameters
        ----------
        path
            The CSV file's name.
        column
            The column's name.
        operation
            What to compute.
        where_column
            Only rows in which this column has the value; empty for all rows.
        where_value
            That value.
        """
        file = self.find(path)
        rows, names = self._table(file)
        name = _column(column, names)
        if where_column:
            other = _column(where_column, names)
            rows = [row for row in rows if (row[other] or "").strip().lower() == where_value.strip().lower()]
        values = [value for row in rows if (value := _number(row[name])) is not None]
        if operation == "count":
            values = [1.0 for row in rows if (row[name] or "").strip()]
        elif not values:
            raise ToolError(f"the column {name} of {self.name(file)} has no numbers there")
        shown = show(_COMPUTE[operation](values))
        # In the words of the call: a column's name is the file's, and the number alone is nobody's instruction.
        said = f"The {operation} of {column} in {path} is {shown}."
        place = f"column {name}, {len(values)} rows"
        return ToolResult(
            text=shown, say=said, citations=[Citation(source=self.name(file), place=place)], untrusted=False
        )

    def names(self) -> list[str]:
        """The files, by the names that they are asked for by."""
        return [self.name(file) for file in self._files()]

    def tables(self) -> list[str]:
        """The files that are tables."""
        return [name for name in self.names() if name.lower().endswith((".csv", ".tsv"))]

    def columns(self) -> list[str]:
        """The columns of all tables."""
        found: list[str] = []
        for name in self.tables():
            try:
                found += self._table(self.find(name))[1]
            except ToolError:
                continue
        return list(dict.fromkeys(found))

    def name(self, file: Path) -> str:
        """A file's path within its folder."""
        folder = next(folder for folder in self._folders if file.is_relative_to(folder))
        return valid_text(str(file.relative_to(folder)))

    def find(self, path: str) -> Path:
        """The file that `path` names; ToolError where there is none, or it lies outside."""
        if not self._folders:
            raise ToolError("no folder may be read; allow one with --folder")
        for folder in self._folders:
            file = (folder / path).resolve()
            if file.is_relative_to(folder) and file.is_file():
                return file
        alike = [file for file in self._files() if path.strip().lower() in self.name(file).lower()]
        if len(alike) == 1:
            return alike[0]
        raise ToolError(f"there is no file {path[:80]!r} in the folders that may be read")

    def text(self, file: Path) -> str:
        """What a text file says; ToolError where it is none."""
        if file.stat().st_size > MOST_BYTES:
            raise ToolError(f"{self.name(file)} is larger than {MOST_BYTES >> 20} MiB")
        try:
            return file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ToolError(f"{self.name(file)} is no text") from None

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for folder in self._folders:
            for file in sorted(folder.rglob("*")):
                hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
                text = file.is_file() and file.suffix.lower() in TEXTS
                if text and not hidden and file.resolve().is_relative_to(folder):
                    found.append(file)
                if len(found) >= MOST_FILES:
                    return found
        return found

    def _table(self, file: Path) -> tuple[list[dict[str, str]], list[str]]:
        text = self.text(file)
        try:
            dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(text[:4096], ",;\t|")
        except csv.Error:
            dialect = "excel"
        reader = csv.DictReader(text.splitlines(), dialect=dialect)
        names = [name for name in reader.fieldnames or () if name]
        if not names:
            raise ToolError(f"{self.name(file)} has no columns")
        return [dict(row) for row in reader], names


def _column(given: str, names: Sequence[str]) -> str:
    plain = given.strip().lower()
    exact = [name for name in names if name.lower() == plain]
    alike = exact or [name for name in names if plain and (plain in name.lower() or name.lower() in plain)]
    if not alike:
        raise ToolError(f"there is no column {given[:40]!r}; the columns are {', '.join(names)}")
    return alike[0]


def _number(text: str | None) -> float | None:
    plain = re.sub(r"[€$£\s]", "", text or "")
    if re.fullmatch(r"[-+]?(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+|\d{1,3}(?:\.\d{3})+,\d+)", plain):
        plain = plain.replace(".", "").replace(",", ".")  # a comma before the decimals, as in most of Europe
    plain = re.sub(r",(?=\d{3}\b)", "", plain)
    try:
        return float(plain)
    except ValueError:
        return None


def key_sentences(text: str, count: int = 3) -> list[str]:
    """The sentences that share most words with the others, in their order."""
    plain = re.sub(r"(?m)^\s*#+\s*(.+)$", r"\1.", text)
    sentences = [" ".join(s.split()) for s in re.split(r"(?<=[.!?])\s+|\n\s*\n", plain)]
    sentences = [s for s in sentences if len(s.split()) > 2]
    often = Counter(word for s in sentences for word in set(_content(s)))

    def weight(sentence: str) -> float:
        words = set(_content(sentence))
        return sum(often[word] - 1 for word in words) / (len(words) or 1) ** 0.5

    best = sorted(sentences, key=weight, reverse=True)[:count]
    return [s for s in sentences if s in best][:count]


def _content(sentence: str) -> list[str]:
    return [word for word in re.findall(r"\w+", sentence.lower()) if len(word) > 3]
