"""Records of benches: what was run, where, with what, every round of it. Tables in documents are made of them.

A bench calls `keep`; the file stands in `bench/records/` and is committed with the table that `python bench/tables.py`
makes of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayllu.lab.run import machine

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "bench" / "records"


def keep(
    name: str,
    figures: Mapping[str, Any],
    *,
    rounds: Any,
    seed: int | None = None,
    peers: Mapping[str, str] | None = None,
    folder: Path = RECORDS,
) -> Path:
    """Write `bench/records/NAME.json`; a name may have a folder before it.

    `figures` are what a table shows, `rounds` the raw values that they come from, `peers` the versions of others'
    packages. Raises SystemExit where code is not committed: nobody could run it again.
    """
    record = {
        "name": name,
        "command": command(sys.argv),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "peers": dict(peers or {}),
        "seed": seed,
        "figures": figures,
        "rounds": rounds,
    }
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"kept {path.relative_to(folder.parent)}; python bench/tables.py puts it into the documents", file=sys.stderr)
    return path


def command(arguments: list[str]) -> str:
    """What was typed, without folders of this machine."""
    words = [word if not Path(word).is_absolute() else "FOLDER" for word in arguments[1:]]
    return " ".join(["python", _place(Path(arguments[0])), *words])


def _place(program: Path) -> str:
    """Where a bench stands in the project."""
    file = program.resolve()
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else f"bench/{file.name}"


def commit() -> str:
    """The commit of the code as it is here. Raises SystemExit where it is not committed."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    if git("status", "--porcelain", "--untracked-files=no", "--", "src", "bench", "pyproject.toml"):
        raise SystemExit("a record names the commit that it was made with: commit your changes first")
    return git("rev-parse", "HEAD")
