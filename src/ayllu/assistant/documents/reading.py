"""What is written in a file, page by page: text, Markdown, code, HTML, PDF, office files, and pictures of text."""

from __future__ import annotations

import io
import logging
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from ayllu.lab.error import UserError

Page = tuple[str, str]
"""The label of a page (its number, a slide, a sheet; empty where a file has no pages), and its text."""
MOST_CHARACTERS = 20_000_000
LARGEST = 256 << 20
"""Most bytes of a file."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LEAST_CONFIDENCE = 0.5
"""Of a recognised line; below it, what OCR gives is more often a pattern than a word."""

RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")


class NoText(Exception):
    """A file has no text that can be read, and why."""


def read(content: bytes, name: str) -> list[Page]:
    """The pages of a file called `name` that have text. Raises NoText, with the reason, where there are none."""
    if len(content) > LARGEST:
        raise NoText(f"it has more than {LARGEST >> 20} MiB; split it")
    reader = READERS.get(PurePosixPath(name).suffix.lower(), _plain)
    try:
        found = [(label, _tidy(text)) for label, text in reader(content)]
    except ModuleNotFoundError as error:
        extra = "ocr" if reader is _picture else "documents"
        raise NoText(f"it needs {error.name}, which is not installed: pip install 'ayllu[{extra}]'") from error
    except NoText:
        raise
    except UserError as error:
        raise NoText(str(error)) from error
    except Exception as error:
        # Files come from anywhere, and each library has errors of its own for each way of being broken.
        raise NoText(f"it cannot be read ({type(error).__name__}: {error})") from error
    found = [(label, text) for label, text in found if text.strip()]
    if not found:
        raise NoText("it holds no text")
    if sum(len(text) for _, text in found) > MOST_CHARACTERS:
        raise NoText(f"it has more than {MOST_CHARACTERS:,} characters; split it")
    return found


def _plain(content: bytes) -> Iterator[Page]:
    """Everything of an unknown ending, as long as it is text: notes, tables and programs."""
    try:
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise NoText("it is no text in UTF-8 or UTF-16, and no document of a known kind; save a text as UTF-8")
    yield "", text


def _pdf(content: bytes) -> Iterator[Page]:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise NoText("it is locked with a password; save it without one")
    found = False
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        found = found or bool(text.strip())
        yield str(number), text
    if not found:
        raise NoText("its pages are pictures; save them as PNG to have their text recognised")


def _slides(content: bytes) -> Iterator[Page]:
    """PowerPoint: the paragraphs (a:p) of each slide (ECMA-376, part 1, 21.1.2)."""
    with _archive(content) as archive:
        known = sorted(
            (name for name in archive.namelist() if re.fullmatch(r"ppt/slides/slide\d+\.xml", name)), key=_number
        )
        shown = [name for _, name in _parts(archive, "ppt/presentation.xml", "sldId") if name in known]
        places = {name: place for place, name in enumerate(shown, start=1)} or {name: _number(name) for name in known}
        for name, place in places.items():
            paragraphs = _xml(archive.read(name)).iter("{*}p")
            lines = ("".join(part.text or "" for part in paragraph.iter("{*}t")) for paragraph in paragraphs)
            yield f"slide {place}", "\n".join(line for line in lines if line.strip())


def _sheets(content: bytes) -> Iterator[Page]:
    """Excel: a line for each row, tabs between its cells (ECMA-376, part 1, 18.3 and 18.4)."""
    with _archive(content) as archive:
        shared: list[str] = []
        if "xl/sharedStrings.xml" in archive.namelist():
            items = _xml(archive.read("xl/sharedStrings.xml")).iter("{*}si")
            shared = ["".join(part.text or "" for part in item.iter("{*}t")) for item in items]
        sheets = _parts(archive, "xl/workbook.xml", "sheet")
        if not all(name for _, name in sheets):  # their files are not told: they are taken in their order
            files = [name for name in archive.namelist() if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", name)]
            sheets = list(zip((title for title, _ in sheets), sorted(files, key=_number), strict=False))
        for place, (title, name) in enumerate(sheets, start=1):
            if name not in archive.namelist() or "/worksheets/" not in name:  # a chart is a sheet too
                continue
            rows = _xml(archive.read(name)).iter("{*}row")
            lines = ("\t".join(_cell(cell, shared) for cell in row.iter("{*}c")) for row in rows)
            title = title or str(place)
            yield f"sheet {title}", "\n".join(line for line in lines if line.strip())


def _parts(archive: zipfile.ZipFile, whole: str, tag: str) -> list[tuple[str, str]]:
    """Names and files of the parts that an office file lists, in the order in which they are shown.

    The files are those of its relations (ECMA-376, part 2, 9.3); empty where none is told.
    """
    known, folder = set(archive.namelist()), PurePosixPath(whole).parent
    relations = str(folder / "_rels" / f"{PurePosixPath(whole).name}.rels")
    targets: dict[str, str] = {}
    if relations in known:
        for one in _xml(archive.read(relations)).iter("{*}Relationship"):
            targets[one.get("Id") or ""] = posixpath.normpath(posixpath.join(f"/{folder}", one.get("Target") or ""))[1:]
    listed = _xml(archive.read(whole)).iter(f"{{*}}{tag}") if whole in known else ()
    return [(one.get("name") or "", targets.get(one.get(RELATION) or "", "")) for one in listed]


def _cell(cell: Any, shared: list[str]) -> str:
    value = cell.findtext("{*}v") or ""
    if cell.get("t") == "s" and value.isdigit() and int(value) < len(shared):
        return shared[int(value)]
    return value or "".join(part.text or "" for part in cell.iter("{*}t"))


def _open_document(content: bytes) -> Iterator[Page]:
    """OpenDocument: paragraphs and headings of the text, of slides and of cells (ODF 1.3, part 3, 5.1)."""
    with _archive(content) as archive:
        tree = _xml(archive.read("content.xml"))
    paragraphs = (one for one in tree.iter("{*}p", "{*}h") if one.tag.startswith("{urn:oasis:names:tc:opendocument"))
    yield "", "\n\n".join("".join(one.itertext()) for one in paragraphs)


def _picture(content: bytes) -> Iterator[Page]:
    """The lines that rapidocr recognises in a picture; for one without writing it gives None."""
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    found: Any = RapidOCR(params={"Global.log_level": "critical"})(content)
    if found is None or found.txts is None:
        raise NoText("no writing is recognised in it")
    sure = [text for text, score in zip(found.txts, found.scores, strict=True) if score >= LEAST_CONFIDENCE]
    yield "", "\n".join(sure)


def _html(content: bytes) -> Iterator[Page]:
    """All the words of a page: headings, which main-text extraction may leave out, are what people search by."""
    from ayllu.data.sources.pages import all_text

    yield "", _BLANK.sub("\n\n", all_text(content))


def _whole(name: str) -> Callable[[bytes], Iterator[Page]]:
    def pages_of(content: bytes) -> Iterator[Page]:
        from ayllu.data.sources import pages  # and with it much that plain text does not need

        yield "", getattr(pages, name)(content)

    return pages_of


READERS: dict[str, Callable[[bytes], Iterator[Page]]] = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), _html),
    ".pdf": _pdf,
    ".docx": _whole("docx"),
    ".epub": _whole("epub"),
    ".pptx": _slides,
    ".xlsx": _sheets,
    **dict.fromkeys((".odt", ".odp", ".ods"), _open_document),
    **dict.fromkeys(PICTURES, _picture),
}
"""How each kind of file is read, by its ending; any other is read where it is text."""


def _archive(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(info.file_size for info in archive.infolist()) > LARGEST:
        raise NoText(f"it unpacks to more than {LARGEST >> 20} MiB")
    return archive


def _xml(content: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _number(name: str) -> int:
    return int("".join(re.findall(r"\d+", name)[-1:]) or 0)


def _tidy(text: str) -> str:
    """Line ends as `\\n`, and no characters that cannot be kept as UTF-8."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")
