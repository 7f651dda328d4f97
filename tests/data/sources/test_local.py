"""Folders and files as sources: what is read, under which id, and which sentence damage gets."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.data.document import Document, Source, split_text
from ayllu.data.sources.local import WHOLE, folder_source
from ayllu.lab.error import UserError


def read(source: Source) -> list[Document]:
    return list(source.read(Path("unused")))


def texts(path: Path) -> list[str]:
    return [document.text for document in read(folder_source(path))]


def test_every_form_is_read_in_the_order_of_the_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b" / "c.MD").write_text("two")
    (tmp_path / "d.jsonl").write_text('{"id": 7, "text": "three"}\n\n"four"\n{"text": null}\n')
    with gzip.open(tmp_path / "e.jsonl.gz", "wt") as file:
        file.write('{"content": "five"}\n')
    pq.write_table(pa.table({"n": [1, 2, 3], "text": ["six", None, "seven"]}), tmp_path / "f.parquet")
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "g.csv").write_text("no")
    documents = read(folder_source(tmp_path))
    assert [d.text for d in documents] == ["one", "two", "three", "four", "five", "six", "seven"]
    assert [d.id for d in documents] == ["a.txt:1", "b/c.MD:1", "d.jsonl:1", "d.jsonl:2", "e.jsonl.gz:1",
                                         "f.parquet:1", "f.parquet:2"]  # fmt: skip
    # The name of the folder is told, where it lies is not.
    assert {d.source for d in documents} == {f"folder:{tmp_path.name}"}


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    assert texts(tmp_path / "b.txt") == ["two"]


def test_separated_documents_of_one_file(tmp_path: Path) -> None:
    stories = [f"Story number {i}. " * (2000 if i == 3 else 4) for i in range(6)]
    (tmp_path / "stories.txt").write_text("<|endoftext|>".join(stories))
    documents = read(folder_source(tmp_path))
    assert [d.text.strip() for d in documents if not d.group] == [s.strip() for s in stories if len(s) <= WHOLE]
    pieces = [d for d in documents if d.group]
    assert len(pieces) > 5
    assert " ".join(d.text for d in pieces).split() == stories[3].split()


def test_a_long_file_is_cut_and_stays_one_group(tmp_path: Path) -> None:
    # Longer than a chunk, with a character of several bytes across every border.
    book = "\n\n".join(f"Chapter {i} tells of the café in the old town. " * 30 for i in range(1500))
    (tmp_path / "book.txt").write_text(book, encoding="utf-8")
    documents = read(folder_source(tmp_path))
    assert {d.group for d in documents} == {"book.txt"}
    assert max(len(d.text) for d in documents) < 10_000
    assert " ".join(d.text for d in documents).split() == book.split()


@settings(max_examples=80)
@given(st.lists(st.text("ab. \n", max_size=80), max_size=20), st.integers(5, 60))
def test_cutting_loses_no_word(parts: list[str], size: int) -> None:
    text = "\n\n".join(parts)
    pieces = split_text(text, size)
    assert " ".join(pieces).split() == text.split()
    assert all(piece.strip() == piece and piece for piece in pieces)


def test_marks_at_the_start_and_sixteen_bits(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ein Stück Käse", encoding="utf-8-sig")
    (tmp_path / "b.txt").write_text("ein Stück Käse", encoding="utf-16")
    (tmp_path / "c.jsonl").write_text('{"text": "ein Stück Käse"}', encoding="utf-8-sig")
    assert texts(tmp_path) == ["ein Stück Käse"] * 3


def test_a_file_with_some_bad_bytes_is_read_and_named_in_the_notes(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(("An old café. " + "Plain words follow. " * 40).encode("latin-1"))
    source = folder_source(tmp_path)
    (document,) = read(source)
    assert document.text.startswith("An old caf\ufffd. Plain")
    assert source.notes == ["old.txt is not UTF-8: 1 of 813 characters could not be read"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "äöüß éèê".encode("latin-1") * 20, r"a\.txt is not UTF-8 .*iconv"),
        ("a.txt", b"\x7fELF\0\0\0binary", r"a\.txt is not a text file"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": "cut', r"a\.jsonl line 2 is not JSON"),
        ("a.jsonl", b'{"title": "fine", "n": 1}\n', r"a\.jsonl line 1 has no text \(fields: title, n\)"),
        ("a.jsonl", b"[1, 2]\n", r"a\.jsonl line 1 is neither"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "fine"}\n' * 5000)[:90], r"a\.jsonl\.gz is damaged after line"),
        ("a.jsonl.gz", b"not gzip at all", r"a\.jsonl\.gz is damaged after line 0"),
        ("a.parquet", b"PAR1 this is cut off", r"a\.parquet is no readable parquet file"),
    ],
    ids=["latin-1", "binary", "cut line", "no text", "no object", "cut gzip", "no gzip", "cut parquet"],
)
def test_damage_is_one_sentence_that_names_the_place(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        texts(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 100}), path, compression="none")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no readable parquet"):
        texts(tmp_path)


def test_a_parquet_without_a_text_column_names_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), tmp_path / "two.parquet")
    with pytest.raises(UserError, match=r"no column called text \(columns: a, b\)"):
        texts(tmp_path)
    pq.write_table(pa.table({"n": [1], "prose": ["y"]}), tmp_path / "two.parquet")
    assert texts(tmp_path) == ["y"]


def test_missing_and_empty_paths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file or folder"):
        folder_source(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no file that ends with"):
        folder_source(tmp_path)


def test_a_line_of_json_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "word " * 1_000_000}) + "\n")
    pieces = texts(tmp_path)
    assert " ".join(pieces).split() == ["word"] * 1_000_000
    assert max(map(len, pieces)) < 20_000, "a text without one full stop is cut too"


@pytest.mark.parametrize("form", ["txt", "jsonl", "parquet"])
def test_a_book_is_cut_into_the_same_pieces_in_every_form(tmp_path: Path, form: str) -> None:
    book = "\n\n".join(f"Chapter {i} tells of the old town and its harbour. " * 20 for i in range(300))
    path = tmp_path / f"book.{form}"
    if form == "txt":
        path.write_text(book)
    elif form == "jsonl":
        path.write_text(json.dumps({"text": "short"}) + "\n" + json.dumps({"text": book}) + "\n")
    else:
        pq.write_table(pa.table({"text": ["short", book]}), path)
    pieces = [document for document in read(folder_source(path)) if document.text != "short"]
    assert [document.text for document in pieces] == split_text(book)
    assert len({document.group for document in pieces}) == 1 and pieces[0].group


def test_code_in_a_long_text_is_cut_where_it_still_compiles() -> None:
    method = "    def answer_{0}(self):\n        # Of all questions.\n        return {0}\n"
    block = "```python\nclass Oracle:\n" + "\n".join(method.format(i) for i in range(40)) + "```"
    text = "\n\n".join(["Words before it. " * 30, block, "Words after it. " * 30] * 9)
    found = [part for piece in split_text(text) for part in piece.split("```python\n")[1:]]
    assert len(found) == 9
    for part in found:
        compile(part.split("```")[0], "piece", "exec")


def test_a_text_without_spaces_is_cut_too() -> None:
    chinese = "船停在港口里。" * 5000
    pieces = split_text(chinese)
    assert "".join(pieces) == chinese and max(map(len, pieces)) < 4000
    assert max(map(len, split_text("x" * 50_000))) <= 12_000
