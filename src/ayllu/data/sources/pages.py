"""Texts out of HTML, PDF, Word and EPUB, by the libraries of the extra `documents`."""

from __future__ import annotations

import io
import logging
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any
from urllib.parse import unquote

from ayllu.data.sources.records import NoTextError, Text

LARGEST = 512 << 20
"""Most bytes of a document, and of what one unpacks to."""

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("dd", "dl", "dt", "li", "ol", "ul")
_TABLES = ("table", "td", "th", "tr")
_SECTIONS = ("address", "article", "aside", "blockquote", "body", "div", "figcaption", "section", "title")
_BLOCKS = frozenset((*_HEADINGS, *_LISTS, *_TABLES, *_SECTIONS, "br", "hr", "p", "pre"))
_LEFT_OUT = frozenset(("head", "script", "style", "nav", "template", "noscript"))
_LINK = rb"(?:<a\b[^<>]*>|</a>)?"
_RAISED = re.compile(
    rb"<sup\b[^<>]*>" + _LINK + rb"(-|\+|&minus;|\xe2\x88\x92)?(\d+|n)" + _LINK + rb"</sup>", re.IGNORECASE
)
_EXPONENTS = str.maketrans("0123456789+-\N{MINUS SIGN}n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")


def page_texts(file: IO[bytes], place: str, read: Callable[[bytes], str]) -> Iterator[Text]:
    """The one text of a document. Raises NoTextError, with the reason, where there is none to be had."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise NoTextError(f"{place} has more than {LARGEST >> 20} MiB: split it")
    try:
        text = read(content)
    except ModuleNotFoundError as error:
        raise NoTextError(
            f"{place} needs {error.name}, which is not installed: pip install 'ayllu[documents]'"
        ) from error
    except NoTextError as error:
        raise NoTextError(f"{place} {error}") from error
    except Exception as error:
        # Documents come from anywhere, and each library has errors of its own for each way of being broken.
        raise NoTextError(f"{place} cannot be read ({type(error).__name__}: {error}): convert it to text") from error
    if not text.strip():
        raise NoTextError(f"{place} holds no text; if it is made of pictures, let a program recognise the letters")
    yield Text(text=text)


def html(content: bytes) -> str:
    """The main text of a page, without its menus; of one that is too short to tell them apart, all of it."""
    import trafilatura

    return trafilatura.extract(_with_exponents(content)) or all_text(content)


def pdf(content: bytes) -> str:
    """The text of all pages."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise NoTextError("is locked with a password: save it without one")
    return "\n\n".join(page.extract_text() for page in reader.pages)


def docx(content: bytes) -> str:
    """Paragraphs and tables, in their order."""
    from docx import Document
    from docx.table import Table

    _check_size(content)
    parts = []
    document = Document(io.BytesIO(content))
    # python-docx passes over what Word shows in these: tracked insertions, and fields to be filled in.
    for wrapper in reversed(document.element.xpath(".//w:ins | .//w:moveTo | .//w:sdt | .//w:sdtContent")):
        place = wrapper.getparent().index(wrapper)
        wrapper.getparent()[place : place + 1] = list(wrapper)
    for raised in document.element.xpath(".//w:r[w:rPr/w:vertAlign[@w:val='superscript']]/w:t"):
        if re.fullmatch(r"[-+\N{MINUS SIGN}]?(\d+|n)", raised.text or "", re.ASCII):
            raised.text = raised.text.translate(_EXPONENTS)
    for block in document.iter_inner_content():
        rows = [[cell.text for cell in row.cells] for row in block.rows] if isinstance(block, Table) else [[block.text]]
        parts.append("\n".join("\t".join(row) for row in rows))
    return "\n\n".join(parts)


def epub(content: bytes) -> str:
    """The chapters of a book in the order of its spine (EPUB 3.3, sections 4.2 and 5)."""
    _check_size(content)
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        package = str(
            _xml(book.read("META-INF/container.xml")).xpath("string(//*[local-name()='rootfile']/@full-path)")
        )
        tree, folder = _xml(book.read(package)), posixpath.dirname(package)
        paths = {item.get("id"): item.get("href") for item in tree.xpath("//*[local-name()='item']")}
        spine = [paths.get(item.get("idref")) for item in tree.xpath("//*[local-name()='itemref']")]
        names = [posixpath.normpath(posixpath.join(folder, unquote(path))) for path in spine if path]
        return "\n\n".join(all_text(book.read(name)) for name in names if name in book.namelist())


def _check_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(info.file_size for info in archive.infolist()) > LARGEST:
            raise NoTextError(f"unpacks to more than {LARGEST >> 20} MiB: it was left alone")


def _xml(content: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _with_exponents(page: bytes) -> bytes:
    """With raised numbers as Unicode's signs for them: without their place, 10 to the power of 23 would be 1023."""

    def sign(raised: re.Match[bytes]) -> bytes:
        minus = {b"": "", b"+": "+"}.get(raised[1] or b"", "-")
        # References of characters, for how the page is encoded is not known yet.
        return (minus + raised[2].decode().lower()).translate(_EXPONENTS).encode("ascii", "xmlcharrefreplace")

    return _RAISED.sub(sign, page)


def all_text(content: bytes) -> str:
    """The words of a page, a line for each block, a blank line between paragraphs."""
    from lxml import html as parser

    if not content.strip():
        return ""
    content = _with_exponents(content)
    # Declared or not, what EPUB and most pages hold is UTF-8.
    try:
        tree = parser.document_fromstring(content.decode("utf-8-sig").encode(), parser.HTMLParser(encoding="utf-8"))
    except UnicodeDecodeError:
        tree = parser.document_fromstring(content)
    parts: list[str] = []
    _collect(tree, parts, verbatim=False)
    lines = "".join(parts).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _collect(element: Any, parts: list[str], *, verbatim: bool) -> None:
    """Add the text of an element and of all below it to `parts`."""
    if not isinstance(element.tag, str) or element.tag in _LEFT_OUT:
        return
    verbatim = verbatim or element.tag == "pre"
    end = "\n" if element.tag in ("br", "tr", "li", "dt", "dd") else "\n\n" if element.tag in _BLOCKS else ""
    if end and parts and not parts[-1].endswith("\n"):
        parts.append(end if element.tag != "br" else "")
    parts.append(_spaced(element.text, verbatim))
    for child in element:
        _collect(child, parts, verbatim=verbatim)
        parts.append(_spaced(child.tail, verbatim))
    if end:
        parts.append("\t" if element.tag in ("td", "th") else end)


def _spaced(text: str | None, verbatim: bool) -> str:
    if not text or verbatim:
        return text or ""
    words = " ".join(text.split())
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if words and text[-1].isspace() else ''}"
