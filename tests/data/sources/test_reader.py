"""One reader: every kind of file, every compression, what is left unread by name, and the same texts for `eval`."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ayllu.data.archive import default_cache
from ayllu.data.cleaning.clean import build_corpus
from ayllu.data.corpus import Corpus
from ayllu.data.sources.local import folder_source
from ayllu.data.sources.pages import all_text
from ayllu.evals.likelihood.heldout import read_texts
from ayllu.lab.error import UserError
from support.parts import need_module

LINES = b'{"text": "one"}\n{"text": "two"}\n'


def texts(path: Path) -> list[str]:
    return [document.text for document in folder_source(path).read(Path("unused"))]


def packed(codec: str) -> Callable[[bytes], bytes]:
    def pack(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()

    return pack


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": packed("zstd"), "lz4": packed("lz4")}


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL", "json"])
def test_every_compression_of_records_is_read_and_its_damage_is_named(tmp_path: Path, ending: str, packer: str) -> None:
    path = tmp_path / f"f.{ending}.{packer}"
    path.write_bytes(PACKERS[packer](LINES))
    assert texts(path) == ["one", "two"]
    path.write_bytes(PACKERS[packer](LINES * 999)[:-20])
    with pytest.raises(UserError, match=r"f\..* is damaged"):
        texts(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("e.json", json.dumps([{"text": "one"}, "two"], indent=1).encode()),
        ("e.json", LINES),
        ("f.ndjson", LINES),
        ("i.csv", b'n,text\r\n1,one\r\n2,"two"\r\n'),
        ("i.tsv", b"text\tn\none\t1\ntwo\t2\n"),
        ("j.jsonl", LINES.decode().encode("utf-16")),
    ],
)
def test_records_given_singly_are_records_and_no_prose(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert texts(tmp_path / name) == ["one", "two"]
    assert [text for _, text in read_texts(tmp_path / name)] == ["one", "two"]


def test_archives_are_read_member_by_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/one.txt", "one")
        archive.writestr("x/pic.png", b"no")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("two.jsonl")
        member.size = len(LINES)
        tar.addfile(member, io.BytesIO(LINES))
    source = folder_source(tmp_path)
    assert [document.text for document in source.read(Path("unused"))] == ["one", "one", "two"]
    assert source.unread == {".png": ["a.zip/x/pic.png"]}


def test_names_and_links_that_lead_out_of_an_archive_lead_nowhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../../up.txt", "/root.txt", "x/../side.txt", "../up.bin", ".hidden.txt", "..double.txt"):
            archive.writestr(name, name)
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "link.txt"), (tarfile.LNKTYPE, "../hard.txt"), (tarfile.DIRTYPE, "sub")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../a.zip"
            tar.addfile(member)
    source = folder_source(tmp_path)
    read = [document.text for document in source.read(Path("unused"))]
    assert read == ["../../up.txt", "/root.txt", "x/../side.txt"]
    assert source.unread == {".bin": ["a.zip/up.bin"], ".txt": ["b.tar/link.txt", "b.tar/hard.txt"]}
    assert all("link or no file" in note for note in source.notes)


def test_what_is_not_read_is_counted_by_ending_in_terminal_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    (tmp_path / "elsewhere").mkdir()
    sentence = "The boats lie in the harbour, and the nets of the {} crew dry in the sun of a long and quiet afternoon."
    (tmp_path / "elsewhere" / "b.txt").write_text(sentence.format("second"))
    (folder / "a.txt").write_text(sentence.format("first"))
    for name in ("x.odt", "y.odt", "sub/z.rtf", "README", "gone.txt"):
        (folder / name).write_text("no")
    (folder / "gone.txt").unlink()
    (folder / "gone.txt").symlink_to(folder / "nowhere")
    (folder / "sizes.csv").write_text("a,b\n1,2\n")
    (folder / ".hidden").write_text("no")
    out = tmp_path / "corpus"
    out.mkdir()
    build_corpus([f"folder:{folder}"], out, default_cache())
    assert {document.id for document in Corpus(out).documents(None)} == {"a.txt:1", "linked/b.txt:1"}
    unread = {
        ".csv": ["sizes.csv"],
        ".odt": ["x.odt", "y.odt"],
        ".rtf": ["sub/z.rtf"],
        ".txt": ["gone.txt"],
        "no ending": ["README"],
    }
    assert Corpus(out).sources[0]["unread"] == unread
    report = (out / "report.md").read_text()
    assert "2 .odt not read: x.odt, y.odt" in report and "no column called text (columns: a, b)" in report
    assert "6 files were not read: 2 .odt (x.odt, y.odt)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ipynb", '{"cells": [{"source": "words"}]}'),
        ("a.har", '[\n  {"text": "words"}\n]'),
        ("a.geojson", '{\n  "type": "words"\n}'),
        ("a.xml", "<a>words</a>"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg">words</svg>'),
        ("a.fb2", '<FictionBook xmlns="x">\n<body>words</body></FictionBook>'),
        ("a.tei", "<TEI>\n <text>words</text></TEI>"),
    ],
)
def test_a_file_of_another_kind_does_not_become_prose_with_tags_and_braces(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="looks like"):
        texts(tmp_path / name)


@pytest.mark.parametrize("content", ["<3 this", "[1] A note.", "{curly} words", "<b> is a tag", "[link](x)", "< 5 > 3"])
def test_plain_words_of_an_unknown_kind_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.log").write_text(content)
    assert texts(tmp_path / "a.log") == [content]


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_the_columns_of_a_table_are_found_whatever_stands_between_them(tmp_path: Path, ending: str, sign: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text(f'id{sign}text\n1{sign}"one{sign} and\nmore"\n2{sign}two\n')
    assert texts(path) == [f"one{sign} and\nmore", "two"]


def test_what_the_shell_pipes_is_measured_and_not_learnt_from(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"words in a pipe")
    os.close(writing)
    assert list(read_texts(Path(f"/dev/fd/{reading}"))) == [(f"{reading}", "words in a pipe")]
    os.close(reading)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        folder_source(Path("/dev/null"))


def test_a_page_reads_the_same_whatever_pages_came_before(tmp_path: Path) -> None:
    """A memory of paragraphs, as trafilatura can keep one, would cut a licence from the fourth page on."""
    need_module("trafilatura", "the extra `documents` is not installed: trafilatura")
    licence = "Everybody may copy, change and sell this text, if they leave this sentence where it stands. " * 2
    story = "".join(
        f"<p>{part} boats lie in the harbour and wait there for the tide of the morning.</p>" for part in "abc"
    )
    for place in range(6):
        (tmp_path / f"{place}.html").write_text(f"<html><body><article>{story}<p>{licence}</p></article></body></html>")
    read = [texts(tmp_path / f"{place}.html") for place in range(6)]
    assert licence.strip() in read[0][0]
    assert all(page == read[0] for page in read)


def test_pages_and_documents_are_read(tmp_path: Path) -> None:
    for module in ("trafilatura", "docx", "pypdf", "lxml"):
        need_module(module, f"the extra `documents` is not installed: {module}")
    import docx

    body = "<body><nav>home</nav><h1>Boats</h1><p>They lie &amp; wait.</p></body>"
    (tmp_path / "a.html").write_text(f"<html><head><style>p{{}}</style></head>{body}</html>")
    document = docx.Document()
    document.add_paragraph("They lie in the harbour.")
    document.add_table(1, 2).cell(0, 1).text = "nine"
    document.save(str(tmp_path / "b.docx"))
    with zipfile.ZipFile(tmp_path / "c.epub", "w") as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="in/book.opf"/></rootfiles></container>',
        )
        items = "".join(f'<item id="c{i}" href="c{i}.xhtml"/>' for i in (1, 2))
        spine = '<itemref idref="c2"/><itemref idref="c1"/>'
        book.writestr("in/book.opf", f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>")
        for i in (1, 2):
            book.writestr(
                f"in/c{i}.xhtml", f"<html><head><title>no</title></head><body><p>Chapter {i}.</p></body></html>"
            )
    (tmp_path / "d.pdf").write_bytes(pdf_of("Boats lie here."))
    assert "They lie & wait." in texts(tmp_path / "a.html")[0] and "<" not in texts(tmp_path / "a.html")[0]
    assert texts(tmp_path / "b.docx") == ["They lie in the harbour.\n\n\tnine"]
    assert texts(tmp_path / "c.epub") == ["Chapter 2.\n\nChapter 1."]
    assert texts(tmp_path / "d.pdf") == ["Boats lie here."]
    (tmp_path / "d.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    with pytest.raises(UserError, match=r"d\.pdf cannot be read"):
        texts(tmp_path / "d.pdf")


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_a_raised_number_is_no_digit_of_the_number_before_it(tmp_path: Path, encoding: str) -> None:
    for module in ("trafilatura", "docx"):
        need_module(module, f"the extra `documents` is not installed: {module}")
    import docx

    words = "A mole has 6.02 × 10<sup>23</sup> atoms and weighs 10<SUP>-3</SUP> kg, as x<sup>n</sup> says "
    words += "by Müller (1998)<sup><a href='#2'>2</a></sup>."
    raised = "A mole has 6.02 × 10²³ atoms and weighs 10⁻³ kg, as xⁿ says by Müller (1998)²."
    head = f"<meta charset='{encoding}'>"
    page = f"<html><head>{head}</head><body><article><h1>Moles</h1><p>{words}</p></article></body></html>"
    (tmp_path / "a.html").write_text(page, encoding=encoding)
    document = docx.Document()
    paragraph = document.add_paragraph()
    for text, up in (("10", False), ("23", True), (" and the 1", False), ("st", True)):
        paragraph.add_run(text).font.superscript = up
    document.save(str(tmp_path / "b.docx"))
    assert raised in texts(tmp_path / "a.html")[0]
    assert all_text((tmp_path / "a.html").read_bytes()).endswith(raised)
    assert texts(tmp_path / "b.docx") == ["10²³ and the 1st"]


def test_a_document_of_word_reads_as_word_shows_it(tmp_path: Path) -> None:
    need_module("docx", "the extra `documents` is not installed: docx")
    import docx
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    def part(content: str) -> Any:
        return parse_xml(content.replace(">", f" {nsdecls('w')}>", 1))

    document = docx.Document()
    paragraph = document.add_paragraph("The dose is ")
    paragraph._p.append(part("<w:del><w:r><w:delText>5</w:delText></w:r></w:del>"))
    paragraph._p.append(part("<w:ins><w:r><w:t>50</w:t></w:r></w:ins>"))
    paragraph.add_run(" mg.")
    inner = "<w:sdt><w:sdtPr/><w:sdtContent><w:r><w:t>Ana</w:t></w:r></w:sdtContent></w:sdt>"
    form = f"<w:sdt><w:sdtPr/><w:sdtContent><w:p><w:r><w:t>For </w:t></w:r>{inner}</w:p></w:sdtContent></w:sdt>"
    document.element.body.insert(0, part(form))
    document.add_table(1, 1).cell(0, 0).paragraphs[0]._p.append(part("<w:ins><w:r><w:t>nine</w:t></w:r></w:ins>"))
    document.save(str(tmp_path / "a.docx"))
    assert texts(tmp_path / "a.docx") == ["For Ana\n\nThe dose is 50 mg.\n\nnine"]


def pdf_of(words: str) -> bytes:
    """A PDF file of one page (ISO 32000-1, section 7.5)."""
    drawn = f"BT /F 12 Tf 20 100 Td ({words}) Tj ET"
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    text, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj{content}endobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    start = len(text)
    text += f"xref\n0 6\n0000000000 65535 f \n{table}trailer<</Root 1 0 R/Size 6>>\nstartxref\n{start}\n%%EOF\n"
    return text.encode()


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["one", "two", None, "one"]).dictionary_encode(),
        pa.array(["one", "two", None, "one"], pa.large_string()),
        pa.array(["one", "two", None, "one"], pa.string_view()),
        pa.array([b"one", b"two", None, b"one"], pa.binary()),
        pa.array([b"one", b"two", None, b"one"], pa.large_binary()),
        pa.array([b"one", b"two", None, b"one"], pa.binary_view()),
        pa.array([b"one", b"two", None, b"one"], pa.binary()).dictionary_encode(),
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['"one"', '"two"', "null", '"one"'])),
    ],
    ids=lambda column: str(column.type)[:30],
)
def test_a_parquet_column_of_text_is_read_whatever_its_type(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": pa.array([1, 2, 3, 4]), "text": column}), path)
    assert texts(path) == ["one", "two", "one"]


def test_a_parquet_of_bytes_that_are_no_utf8_is_one_sentence_or_a_note(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array(["äö".encode("latin-1")], pa.binary()).buffers())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet is not UTF-8 \(2 of 2 characters"):
        texts(tmp_path / "a.parquet")
    some = pa.array([b"An old caf\xe9 with many plain words.", b"more"], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 2, some.buffers())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    source = folder_source(tmp_path / "a.parquet")
    assert [d.text for d in source.read(Path("unused"))] == ["An old caf\ufffd with many plain words.", "more"]
    assert "1 of 38 characters" in source.notes[0]


def test_a_parquet_column_that_is_no_text_is_refused_by_its_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1], "text": [["a", "b"]]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column called text \(columns: n, text; text is list<"):
        texts(tmp_path / "a.parquet")
    mixed = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['"one"', "[1]"]))
    pq.write_table(pa.table({"text": mixed}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet row 2 holds a list where the others have text"):
        texts(tmp_path / "a.parquet")


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "JSONL"])
def test_eval_reads_what_run_reads(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    rows = [{"text": "one\r\ntwo"}, {"text": None}, {"text": "", "n": 1}, {"text": "three", "source": "web"}]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, rows)).encode())
    assert list(read_texts(path)) == [("a", "one\ntwo"), ("web", "three")]
    assert texts(path) == ["one\ntwo", "three"]
    for value, kind in ((["a"], "a list"), (5, "a number"), ({"a": 1}, "an object")):
        path.write_text(json.dumps({"text": value}) + "\n")
        with pytest.raises(UserError, match=f"line 1 has no text .*text is {kind}"):
            list(read_texts(path))


def test_eval_counts_the_same_bytes_of_the_same_words(tmp_path: Path) -> None:
    words = "Boats lie here.\nThey wait.\n"
    long = words * 2000
    (tmp_path / "unix.txt").write_bytes(long.encode())
    (tmp_path / "windows.txt").write_bytes(long.replace("\n", "\r\n").encode("utf-8-sig"))
    (tmp_path / "two.txt").write_bytes(b"one<|endoftext|>two")
    assert list(read_texts(tmp_path / "unix.txt")) == [("unix", long)], "a long text is measured whole"
    assert list(read_texts(tmp_path / "windows.txt")) == [("windows", long)]
    assert [text for _, text in read_texts(tmp_path / "two.txt")] == ["one", "two"]
    assert sorted(read_texts(tmp_path))[0] == ("two", "one"), "a folder is measured too"
    (tmp_path / "none.txt").write_text("")
    with pytest.raises(UserError, match=r"none\.txt holds no text to measure"):
        list(read_texts(tmp_path / "none.txt"))
