"""Make files searchable, find passages in them, and open what is cited."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

from ayllu.api.home import find_home
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.progress import bar, say
from ayllu.lab.visible import visible

if TYPE_CHECKING:
    from ayllu.assistant.documents.documents import Added, Documents

app = cyclopts.App(
    name="documents", help="Make your files searchable: find passages by words and meaning, and cite them."
)
SHOWN = 300
"""Characters of a passage that a list shows."""


@app.command
def add(*paths: Path, words_only: Flag = False, home: Home = None, json: Json = False) -> None:
    """Read files and folders: text, Markdown, code, HTML, PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, pictures.

    Only what is new or has changed is read; files that are gone from a folder are forgotten. What is read is found by
    its words at once; then the vectors for its meaning are computed, and after a kill the next call goes on.

    Parameters
    ----------
    paths
        Files and folders; what was added before is only completed when none is given.
    words_only
        Compute no vectors now; a search does so for the passages that it finds by words.
    """
    with _opened(home) as documents:
        with bar("read", unit="MB") as progress:
            done = documents.add(paths, told=lambda path, size: progress.advance(size / 1e6, note=Path(path).name))
        waiting = documents.waiting()
        if waiting and not words_only:
            with bar("vectors", total=waiting, unit="passages") as progress:
                documents.embed(told=progress.advance)
        left, files = documents.waiting(), len(documents.files())
    if json:
        print_json(_added(done) | {"files": files, "passages_without_vectors": left}, indent=2)
        return
    counts = (
        f"{len(done.added)} added, {len(done.changed)} changed, {done.unchanged} unchanged, {len(done.removed)} removed"
    )
    print_lines([f"{counts}; {done.characters:,} characters read, {files} files known"])
    for path, reason in done.unread:
        say(f"not read: {path}: {reason}")


@app.command
def search(query: str, /, *, most: int = 5, words_only: Flag = False, home: Home = None, json: Json = False) -> int:
    """Find the passages that are nearest to a question. Exits with 1 where none supports an answer.

    Parameters
    ----------
    query
        A question, or words.
    most
        How many passages to give.
    words_only
        Rank by words alone (BM25).
    """
    if most < 1:
        raise UserError(f"--most is {most}; it must be at least 1")
    with _opened(home) as documents:
        found = documents.search(query, most=most, words_only=words_only)
    if json:
        print_json(found.told(), indent=2)
        return 0 if found.supported else 1
    from ayllu.assistant.documents.found import NOTHING

    if not found.supported:
        print_lines([NOTHING + (": the nearest passages are" if found.passages else "")])
    for one in found.passages:
        print_lines([f"[{one.citation}] {one.source}", f"    {visible(' '.join(one.text.split()), longest=SHOWN)}"])
    return 0 if found.supported else 1


@app.command(name="open")
def open_citation(citation: str, /, *, around: int = 400, home: Home = None, json: Json = False) -> None:
    """Print a cited passage in its surroundings, between two marks.

    Parameters
    ----------
    citation
        As a search gives it, such as 3f9a01bc#2:140-980.
    around
        Characters to show before and after it.
    """
    with _opened(home) as documents:
        opened = documents.open(citation, around=around)
    if json:
        fields = ("path", "page", "before", "passage", "after", "current")
        print_json({name: getattr(opened, name) for name in fields}, indent=2)
        return
    print_lines([f"{opened.path}{f', page {opened.page}' if opened.page else ''}"])
    if not opened.current:
        say("the file has changed since it was read; this is what was read")
    print_lines(f"{opened.before}»»{opened.passage}««{opened.after}".split("\n"))


@app.command(name="list")
def list_documents(*, home: Home = None, json: Json = False) -> None:
    """List all files that are known, and those that could not be read, with the reason."""
    with _opened(home) as documents:
        files, waiting = documents.files(), documents.waiting()
    if json:
        fields = ("id", "path", "state", "reason", "size", "characters", "passages", "added_at")
        listed = [{name: getattr(file, name) for name in fields} for file in files]
        print_json({"files": listed, "passages_without_vectors": waiting}, indent=2)
        return
    for file in files:
        told = f"{file.passages:,} passages" if file.state == "ready" else f"not read: {file.reason or 'interrupted'}"
        print_lines([f"{file.id}  {file.path}  {told}"])


@app.command
def remove(*names: str, home: Home = None, json: Json = False) -> None:
    """Forget files: no text of them stays in any index, log or free page. The files themselves are not touched.

    Parameters
    ----------
    names
        Paths of files or folders, or the ids that `list` tells.
    """
    if not names:
        raise UserError("nothing is named; give files, folders or ids, as `ayllu documents list` tells them")
    with _opened(home) as documents:
        gone = documents.remove(names)
    if json:
        print_json({"removed": gone}, indent=2)
    else:
        print_lines([f"{len(gone)} files forgotten"])


@contextlib.contextmanager
def _opened(home: Path | None) -> Iterator[Documents]:
    from ayllu.assistant.documents.documents import Documents

    with Documents(find_home(home)) as documents:
        yield documents


def _added(done: Added) -> dict[str, object]:
    return {
        "added": done.added,
        "changed": done.changed,
        "unchanged": done.unchanged,
        "removed": done.removed,
        "unread": [{"path": path, "reason": reason} for path, reason in done.unread],
        "characters": done.characters,
    }
