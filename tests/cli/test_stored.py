"""The commands on a store: damaged, moved, copied, closed to writing; and what they say of its results."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ayllu.api import models, running
from ayllu.cli.main import main
from ayllu.lab.graph import order
from ayllu.lab.store import Store
from ayllu.recipes.registry import RECIPES
from support.models import save_tiny_model


def ayllu(*words: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What the command prints: on stdout, or, where it ends with another `code`, on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    assert end.value.code == code, err
    return err if code else out


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one model, called tiny."""
    folder = tmp_path_factory.mktemp("stored")
    source = save_tiny_model(folder / "source")
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    models.adopt(str(source), name="tiny", home=folder / "home")
    return folder / "home"


@pytest.fixture
def home(adopted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(adopted, tmp_path / "home")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x40
    path.write_bytes(content)


def commands(model: str, folder: Path) -> dict[str, tuple[str, ...]]:
    (folder / "text.txt").write_text("Some words to measure.")
    return {
        "chat": ("chat", model, "--message", "Hello", "--seed", "1"),
        "eval": ("eval", model, "--suite", "none", "--text", str(folder / "text.txt")),
        "export": ("export", model, "--to", "hf", "--out", str(folder / "out")),
        "serve": ("serve", model, "--port", "0"),
    }


@pytest.mark.parametrize("command", ["chat", "eval", "export", "serve"])
def test_no_command_uses_a_damaged_model(
    command: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights,) = home.glob("artifacts/adopt-*/model.safetensors")
    flip(weights)
    for model in ("tiny", str(weights.parent)):
        said = ayllu(*commands(model, tmp_path)[command], "--home", str(home), capsys=capsys, code=2)
        assert "damaged" in said and "'model.safetensors' is not what was written" in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_is_adopted_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (weights,) = home.glob("artifacts/adopt-*/model.safetensors")
    whole = weights.read_bytes()
    flip(weights)
    source = home.parent / "source"
    save_tiny_model(source)
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    ayllu("adopt", str(source), "--name", "tiny", "--home", str(home), capsys=capsys)
    assert weights.read_bytes() == whole
    flip(weights)
    said = ayllu("adopt", str(weights.parent), "--home", str(home), capsys=capsys, code=2)
    assert "damaged" in said


def answer(home: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    words = ("chat", "tiny", "--message", "Hello", "--seed", "1", "--json", "--home", str(home))
    return json.loads(ayllu(*words, capsys=capsys))["answer"]


def test_a_home_that_was_moved_or_copied_is_its_own(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = answer(home, capsys)
    copy = shutil.copytree(home, tmp_path / "copy")
    moved = home.rename(tmp_path / "moved")
    assert answer(moved, capsys) == said
    shutil.rmtree(next(moved.glob("artifacts/adopt-*")))
    assert "'tiny' is gone" in ayllu("chat", "tiny", "--home", str(moved), capsys=capsys, code=2)
    assert models.load("tiny", home=copy).folder.is_relative_to(copy)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AYLLU_HOME", "copy")
    model = models.load("tiny")
    monkeypatch.chdir("/")
    assert model.folder == next(copy.glob("artifacts/adopt-*"))
    assert model.chat("Hello", seed=1) == said
    assert str(tmp_path) not in (copy / "channels" / "tiny.json").read_text()


def test_a_name_from_before_names_held_keys_is_found_in_its_own_home(home: Path) -> None:
    path = home / "channels" / "tiny.json"
    channel = json.loads(path.read_text())
    (entry,) = channel["history"]
    folder = Path("/gone/artifacts") / f"{entry.pop('stage')}-{entry['key'][:16]}"
    path.write_text(json.dumps({**channel, "history": [{**entry, "folder": str(folder)}]}))
    found = models.load("tiny", home=home).folder
    assert found == home / "artifacts" / folder.name
    source = home.parent / "source"
    save_tiny_model(source)
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    models.adopt(str(source), name="tiny", home=home)
    assert "folder" not in json.loads(path.read_text())["history"][-1], "adopted again, the name holds a key"


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"", b"\xff", b'{"history": []}', b'{"history": [{"key": "../x"}]}', None]
)
def test_a_damaged_name_is_one_sentence_and_made_good_by_the_next_run(
    content: bytes | None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "channels" / "tiny.json"
    if content is None:  # a pipe, which nobody writes to
        path.unlink()
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    for command in ("chat", "serve", "why"):
        said = ayllu(command, "tiny", "--home", str(home), capsys=capsys, code=2)
        assert str(path) in said and "damaged" in said and "Traceback" not in said
    source = home.parent / "source"
    save_tiny_model(source)
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    models.adopt(str(source), name="tiny", home=home)
    assert models.load("tiny", home=home).folder.is_dir()
    aside = path.with_name("tiny.json.damaged")
    assert aside.is_fifo() if content is None else aside.read_bytes() == content


def why(*words: str, home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return json.loads(ayllu("why", *words, "--home", str(home), "--json", capsys=capsys))["stages"]


def test_why_of_a_model_says_what_is_kept_of_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = why("tiny", home=home, capsys=capsys)
    assert (row["stage"], row["state"]) == ("adopt", "kept")
    flip(next(home.glob("artifacts/adopt-*/model.safetensors")))
    (row,) = why("tiny", home=home, capsys=capsys)
    assert row["state"] == "runs" and "'model.safetensors' is not what was written" in row["why"]


def test_why_of_a_release_asks_for_the_recipe_and_options_that_made_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def little(*, source: Path | None = None, words: tuple[str, ...] = (), name: str = "little") -> Any:
        from ayllu.recipes.adopt import adopted

        assert source is None or isinstance(source, Path)
        assert isinstance(words, tuple)
        return adopted(str(source), licence="/".join(words))

    monkeypatch.setitem(RECIPES._added, "little", little)
    source = save_tiny_model(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    running.run("little", home=home, source=Path("source"), words=("MIT",), name="mine")
    monkeypatch.chdir("/")
    (row,) = why("mine", home=home, capsys=capsys)
    assert (row["stage"], row["state"]) == ("adopt", "kept")
    (source / "config.json").write_text((source / "config.json").read_text() + "\n")
    (row,) = why("mine", home=home, capsys=capsys)
    assert row["state"] == "runs" and "argument source is" in row["why"]
    shutil.rmtree(source)
    (row,) = why("mine", home=home, capsys=capsys)
    assert row["state"] == "kept", "what it was made from is gone, and what is kept can still be told"


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("cria", ("--sources", "sotu", "--name", "mine")),
        ("smol", ("--steps", "4", "5", "6", "--name", "mine")),
        ("llama", ("--model", "llama-3.2-1b", "--sources", "sotu", "--tokens", "1e6")),
        ("draft", ("--teacher", "smollm2", "--layers", "3")),
    ],
)
def test_why_takes_a_recipes_own_options_and_no_two_lines_have_one_label(
    recipe: str, options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = why(recipe, *options, home=tmp_path, capsys=capsys)
    labels = [row["label"] for row in rows]
    assert len({*labels}) == len(labels)
    assert all({"stage", "label", "state", "why", "changed", "seconds"} == row.keys() for row in rows)
    assert all(label.startswith(row["stage"]) for label, row in zip(labels, rows, strict=True))
    if recipe == "smol":
        assert {f"teach(method={name})" for name in ("worked", "grpo", "sft", "dpo")} < {*labels}
        assert "skills(model=soften)" in labels


def test_every_recipe_ends_in_a_stage_before_which_all_is_read() -> None:
    options: dict[str, dict[str, Any]] = {"llama": {"sources": ("sotu",)}}
    for name in ("cria", "smol", "draft", "llama"):
        *others, last = order(RECIPES.find(name)(**options.get(name, {})))
        assert last.stage.publishes, name
        assert not [node for node in others if node.stage.publishes]


@pytest.fixture
def closed(home: Path) -> Iterator[Path]:
    """The home as one of a read-only file system: this user may write everywhere, so the system is asked instead."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if not active or not arguments or not isinstance(arguments[0], str):
            return
        opened = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
        writes = opened & (os.O_WRONLY | os.O_RDWR) or event in ("os.mkdir", "os.rename", "os.remove")
        if writes and Path(arguments[0]).is_relative_to(home):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])

    active = [True]
    sys.addaudithook(audit)
    yield home
    active.clear()


@pytest.mark.parametrize("command", ["chat", "eval", "export", "why"])
def test_a_home_that_can_only_be_read_is_enough_to_read(
    command: str, closed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"why": ("why", "tiny"), **commands("tiny", tmp_path)}[command]
    ayllu(*words, "--home", str(closed), capsys=capsys)
    said = ayllu("adopt", "smollm2", "--home", str(closed), capsys=capsys, code=2)
    assert "cannot write to" in said and "--home" in said
    assert Store(closed, writes=False).manifests()


@pytest.mark.parametrize(
    "words",
    ["memory list", "documents list", "assist --model tiny --once Hi", "gc --yes", "tag tiny mine"],
)
def test_a_home_that_can_only_be_read_is_named_where_it_does_not_suffice(
    words: str, closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ayllu(*words.split(), "--home", str(closed), capsys=capsys, code=2)
    assert said.count("\n") <= 1
    assert "cannot write to" in said and "choose another folder with --home" in said


def test_what_could_go_is_listed_from_a_home_that_can_only_be_read(
    closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "remove them with" in ayllu("gc", "--home", str(closed), capsys=capsys)
