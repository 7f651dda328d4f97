"""Each kind of file gives its text and its pages; passages keep to the ends of paragraphs and miss no word."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.assistant.documents.citation import Citation, parse
from ayllu.assistant.documents.passages import LENGTH, spans
from ayllu.assistant.documents.reader_process import ReaderProcess, Unreadable
from ayllu.assistant.documents.reading import NoText, read
from support.parts import need_module


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_slides_sheets_and_open_documents_have_their_labels() -> None:
    need_module("lxml", "office files are XML")
    a = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    slide = f"<sld {a}><a:p><a:r><a:t>Budget </a:t></a:r><a:r><a:t>%s</a:t></a:r></a:p></sld>"
    slides = zipped({f"ppt/slides/slide{n}.xml": slide % n for n in (10, 2)})
    assert read(slides, "talk.pptx") == [("slide 2", "Budget 2"), ("slide 10", "Budget 10")]
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = f'<worksheet {main}><row><c t="s"><v>0</v></c><c><v>12.5</v></c></row></worksheet>'
    book = {
        "xl/workbook.xml": f'<workbook {main}><sheets><sheet name="Costs"/></sheets></workbook>',
        "xl/sharedStrings.xml": f"<sst {main}><si><t>Rent</t></si></sst>",
        "xl/worksheets/sheet1.xml": sheet,
    }
    assert read(zipped(book), "book.xlsx") == [("sheet Costs", "Rent\t12.5")]
    text = 'xmlns:t="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    letter = f"<x {text}><t:h>Offer</t:h><t:p>Dear <t:span>Rosa</t:span></t:p></x>"
    assert read(zipped({"content.xml": letter}), "letter.odt") == [("", "Offer\n\nDear Rosa")]


def test_pages_are_told_as_they_are_shown_and_not_as_their_files_are_numbered() -> None:
    need_module("lxml", "office files are XML")
    a = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'

    def relations(**targets: str) -> str:
        parts = "".join(f'<Relationship Id="{id}" Target="{target}"/>' for id, target in targets.items())
        return f"<Relationships {package}>{parts}</Relationships>"

    slide = f"<sld {a}><a:p><a:r><a:t>%s</a:t></a:r></a:p></sld>"
    listed = "".join(f'<sldId id="{number}" r:id="{id}"/>' for number, id in ((256, "r9"), (257, "r1")))
    slides = {
        "ppt/slides/slide1.xml": slide % "Moved to the end",
        "ppt/slides/slide2.xml": slide % "Moved to the front",
        "ppt/slides/slide3.xml": slide % "Deleted, and left in the file",
        "ppt/presentation.xml": f'<presentation xmlns:r="{office}"><sldIdLst>{listed}</sldIdLst></presentation>',
        "ppt/_rels/presentation.xml.rels": relations(r1="slides/slide1.xml", r9="/ppt/slides/slide2.xml"),
    }
    assert read(zipped(slides), "a.pptx") == [("slide 1", "Moved to the front"), ("slide 2", "Moved to the end")]
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = f'<worksheet {main}><row><c t="str"><v>%s</v></c></row></worksheet>'
    listed = "".join(
        f'<sheet name="{name}" r:id="{id}"/>' for name, id in (("May", "b"), ("Chart", "c"), ("June", "a"))
    )
    book = {
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            a="worksheets/sheet1.xml", b="worksheets/sheet2.xml", c="chartsheets/sheet1.xml"
        ),
        "xl/worksheets/sheet1.xml": sheet % "rent of June",
        "xl/worksheets/sheet2.xml": sheet % "rent of May",
        "xl/chartsheets/sheet1.xml": "<chartsheet/>",
    }
    assert read(zipped(book), "a.xlsx") == [("sheet May", "rent of May"), ("sheet June", "rent of June")]


def test_a_pdf_has_pages() -> None:
    need_module("pypdf", "PDF is read by pypdf")
    from matplotlib import pyplot as plt
    from matplotlib.backends.backend_pdf import PdfPages

    buffer = io.BytesIO()
    with plt.rc_context({"pdf.fonttype": 42}), PdfPages(buffer) as pdf:
        for words in ("first page here", "second page there"):
            figure = plt.figure()
            figure.text(0.1, 0.5, words)
            pdf.savefig(figure)
            plt.close(figure)
    labels = [(label, " ".join(text.split())) for label, text in read(buffer.getvalue(), "two.pdf")]
    assert labels == [("1", "first page here"), ("2", "second page there")]


def test_pictures_are_recognised_where_the_package_is_there() -> None:
    need_module("rapidocr", "writing in pictures is recognised by rapidocr")
    from matplotlib import pyplot as plt

    for words, expected in (("INVOICE 4711", "INVOICE 4711"), ("", None)):
        buffer, figure = io.BytesIO(), plt.figure(figsize=(6, 2))
        figure.text(0.1, 0.5, words, fontsize=40)
        figure.savefig(buffer, format="png")
        plt.close(figure)
        if expected is None:
            with pytest.raises(NoText, match="no writing"):
                read(buffer.getvalue(), "p.png")
        else:
            assert read(buffer.getvalue(), "p.png")[0][1].split() == expected.split()


def test_a_reader_that_is_ended_or_takes_too_long_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a word")
    with ReaderProcess(seconds=60) as reader:
        pages, digest = reader.read(tmp_path / "a.txt", "a.txt")
        assert pages == [("", "a word")] and len(digest) == 64
        process = reader._started()
        process.kill()
        process.wait()
        assert reader.read(tmp_path / "a.txt", "a.txt")[0] == [("", "a word")]
        with pytest.raises(Unreadable, match="cannot be opened"):
            reader.read(tmp_path / "b.txt", "b.txt")
    with ReaderProcess(seconds=0.0) as reader, pytest.raises(Unreadable, match="took more than 0 seconds"):
        reader.read(tmp_path / "a.txt", "a.txt")


words = st.text(alphabet="ab .\n!", min_size=0, max_size=400)


@given(words, st.integers(5, 60))
def test_every_word_is_in_a_passage_and_none_is_too_long(text: str, length: int) -> None:
    found = spans(text, length=length, overlap=length // 4)
    covered = set()
    for first, last in found:
        assert 0 <= first < last <= len(text) and last - first <= length
        covered |= set(range(first, last))
    assert all(at in covered for at, character in enumerate(text) if not character.isspace())
    assert [first for first, _ in found] == sorted({first for first, _ in found})


def test_headings_of_a_page_are_read_and_its_menu_is_not() -> None:
    need_module("lxml", "HTML is read by lxml")
    page = b"<html><nav>Menu</nav><h2>Opening hours</h2><div><div><p>From nine\nto five.</p></div></div></html>"
    assert read(page, "page.html") == [("", "Opening hours\n\nFrom nine to five.")]


def test_passages_end_where_paragraphs_do() -> None:
    paragraphs = [f"Paragraph {n}. " + "word " * 30 for n in range(20)]
    text = "\n\n".join(paragraphs)
    for first, last in spans(text):
        assert text[first:last].startswith("Paragraph") and last - first <= LENGTH


def test_a_citation_is_read_as_it_is_written() -> None:
    one = Citation(file="0a1b2c3d", page=3, start=10, end=200)
    assert parse(str(one)) == one == parse(f" [{one}] ")
    for text in ("", "x", "0a1b2c3d#3", "0a1b2c3d#3:1"):
        with pytest.raises(ValueError, match="no citation"):
            parse(text)
