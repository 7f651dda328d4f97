"""The text of a file that somebody uploaded, read in a process of its own with bounds of time and memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path, PurePosixPath
from typing import IO

SECONDS = 120
MEMORY = 4 << 30
"""Bytes of address space; libraries that are loaded count too."""
MOST_CHARACTERS = 20_000_000
PAGED = (".html", ".htm", ".xhtml", ".pdf", ".docx", ".epub")
"""Endings of files whose text lies within marks."""
UNREADABLE = 3
"""Exit code of the process where the file has no text."""


class NoText(Exception):
    """A file without text that can be read, and why, in one sentence."""


async def extract_text(path: Path, name: str) -> str:
    """The text of the file at `path`, which is called `name`. Raises NoText."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ayllu.serve.retrieval.extract", str(path), name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise NoText(f"the file took more than {SECONDS} seconds to read") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == UNREADABLE:
        raise NoText(err.decode("utf-8", "replace").strip().splitlines()[-1][:500])
    if process.returncode:
        raise NoText("the file could not be read within the bounds of memory and time")
    return out.decode("utf-8")


def main(path: str, name: str) -> int:
    """Print the text of a file; on stderr why there is none."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    from ayllu.data.sources.records import NoTextError
    from ayllu.lab.error import UserError
    from ayllu.lab.visible import visible

    try:
        with Path(path).open("rb") as file:
            text = _paged(file, name) if PurePosixPath(name).suffix.lower() in PAGED else _plain(file, name)
        if len(text) > MOST_CHARACTERS:
            raise NoTextError(f"{name} has more than {MOST_CHARACTERS:,} characters: split it")
        if not text.strip():
            raise NoTextError(f"{name} holds no text")
    except (NoTextError, UserError) as error:
        sys.stderr.write(visible(str(error)))
        return UNREADABLE
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    return 0


def _paged(file: IO[bytes], name: str) -> str:
    from ayllu.data.sources.reader import read_texts

    return "\n\n".join(text.text for text in read_texts(file, name, name, [], lambda inside, why: None))


def _plain(file: IO[bytes], name: str) -> str:
    """Everything else is taken as it is, tables and programs too, as long as it is text."""
    from ayllu.data.sources.records import NoTextError

    content = file.read(4 * MOST_CHARACTERS + 4)
    try:
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise NoTextError(f"{name} is no text in UTF-8 or UTF-16, and none of {', '.join(PAGED)}: convert it to text")
    return text.replace("\r\n", "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
