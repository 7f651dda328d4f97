"""Documents are found, cited and opened, kept up to date, and gone when they are removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ayllu.assistant.documents.documents import Documents
from ayllu.lab.error import UserError


def test_words_and_meaning_find_a_passage_and_its_citation_opens_it(documents: Documents, folder: Path) -> None:
    done = documents.add([folder])
    assert (len(done.added), done.unread) == (4, []) and documents.waiting() > 0
    assert documents.embed() == 4 and documents.waiting() == 0
    by_word = documents.search("ladder").passages[0]
    assert by_word.path == str(folder / "garage.md") and "ladder is borrowed" in by_word.text
    by_meaning = documents.search("car")
    assert by_meaning.passages[0].path == str(folder / "garage.md")
    opened = documents.open(by_word.citation)
    assert opened.passage == by_word.text and opened.current
    assert documents.open(f"[{by_word.citation}]", around=0).before == ""
    assert documents.search("who opened the bridge").passages[0].source == "page.html"


def test_only_what_changed_is_read_again(
    documents: Documents, folder: Path, encoder: object, reopened: Callable[[], Documents]
) -> None:
    documents.add([folder])
    documents.embed()
    documents.close()
    with reopened() as again:
        assert again.add([folder]).unchanged == 4
        os.utime(folder / "sum.py")
        assert again.add([folder]).unchanged == 4  # touched, and the same inside
        (folder / "garage.md").write_text("The bicycle needs oil.")
        (folder / "page.html").unlink()
        done = again.add([folder])
        assert (done.changed, done.removed) == ([str(folder / "garage.md")], [str(folder / "page.html")])
        assert again.waiting() == 1
        assert "bicycle" in again.search("bicycle").passages[0].text
        assert all("tyres" not in one.text for one in again.search("tyres automobile").passages)


def test_removed_is_gone_from_every_byte(documents: Documents, folder: Path, tmp_path: Path) -> None:
    documents.add([folder])
    documents.embed()
    documents.add_upload("sent.txt", b"The password of the cellar is Chirimoya.")
    held = b"".join(path.read_bytes() for path in sorted((tmp_path / "home").rglob("*")) if path.is_file())
    assert b"Quispe" in held and b"Chirimoya" in held
    assert documents.remove([str(folder / "deep")]) == [str(folder / "deep/pets.txt")]
    (upload,) = (file for file in documents.files() if file.path.endswith("sent.txt"))
    documents.remove([upload.id])
    left = b"".join(path.read_bytes() for path in sorted((tmp_path / "home").rglob("*")) if path.is_file())
    for word in (b"Quispe", b"quisp", b"Chirimoya", b"chirimoya"):
        assert word not in left
    assert (folder / "deep/pets.txt").is_file()
    with pytest.raises(UserError, match="none of your documents"):
        documents.remove(["pets.txt"])


def test_a_citation_of_something_that_is_gone_says_so(documents: Documents, folder: Path) -> None:
    documents.add([folder])
    citation = documents.search("tyres", words_only=True).passages[0].citation
    (folder / "garage.md").write_text("Empty now.")
    assert not documents.open(citation).current
    documents.add([folder])
    with pytest.raises(UserError, match="was removed or has changed; search again"):
        documents.open(citation)
    with pytest.raises(UserError, match="is no citation; one looks like"):
        documents.open("garage.md")


def test_what_is_not_in_the_documents_is_said(documents: Documents, folder: Path) -> None:
    documents.add([folder])
    documents.embed()
    assert documents.search("the kitten eats twice a day").supported
    assert not documents.search("capital of Mongolia").supported
    assert not documents.search("capital of Mongolia", words_only=True).supported


def test_a_search_computes_the_vectors_that_it_needs(documents: Documents, folder: Path) -> None:
    documents.add([folder])
    waiting = documents.waiting()
    found = documents.search("tyres for winter")
    assert found.passages[0].cosine is not None and 0 < documents.waiting() < waiting


def test_hidden_files_links_and_unreadable_ones_are_passed_over_and_named(
    documents: Documents, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "blob.bin").write_bytes(b"\0\1\2")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    (folder / "empty.txt").write_text(" \n")
    done = documents.add([folder])
    assert len(done.added) == 4
    reasons = {Path(path).name: reason for path, reason in done.unread}
    assert reasons["empty.txt"] == "it holds no text" and "no text in UTF-8" in reasons["blob.bin"]
    assert reasons["broken.pdf"].startswith("it cannot be read (")
    assert not documents.search("hidden secret", words_only=True).passages
    with pytest.raises(UserError, match="there is no file or folder"):
        documents.add([tmp_path / "nowhere"])


def test_a_name_that_is_no_text_is_told_and_the_rest_is_read(documents: Documents, tmp_path: Path) -> None:
    place = tmp_path / "odd"
    place.mkdir()
    (place / os.fsdecode(b"caf\xe9.txt")).write_text("The door code is 4711.")
    (place / "fine.txt").write_text("The boat sails on Tuesday.")
    done = documents.add([place])
    assert [Path(path).name for path in done.added] == ["fine.txt"]
    assert [why for _, why in done.unread] == ["its name is not UTF-8; give it another one"]
    done.unread[0][0].encode()


def test_after_a_kill_the_next_call_goes_on(tmp_path: Path) -> None:
    place, home = tmp_path / "many", tmp_path / "home"
    place.mkdir()
    for number in range(300):
        (place / f"{number:03}.txt").write_text(f"Note {number}: the number of this note is {number * 7}.\n" * 20)
    code = (
        "import sys; from pathlib import Path; from ayllu.assistant.documents.documents import Documents\n"
        "Documents(Path(sys.argv[1])).add([Path(sys.argv[2])], told=lambda *a: print('.', end='', flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home), str(place)], stdout=subprocess.PIPE) as process:
        assert process.stdout and len(process.stdout.read(20)) == 20
        process.send_signal(signal.SIGKILL)
    time.sleep(0.1)
    with Documents(home) as documents:
        before = sum(file.state == "ready" for file in documents.files())
        assert 0 < before < 300
        done = documents.add([place])
        assert done.unchanged == before and len(done.added) + len(done.changed) == 300 - before
        assert len({file.path for file in documents.files()}) == 300
        for number in (3, 297):
            text = documents.search(f"note {number}", most=1, words_only=True).passages[0].text
            assert f"Note {number}:" in text
