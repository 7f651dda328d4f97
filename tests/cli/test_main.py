"""Bad input at the command line: one sentence, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

from ayllu.cli.main import COMMANDS, main
from support.models import save_tiny_model


def ayllu(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ayllu.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"AYLLU_HOME": str(home)} | environment,
    )


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ayllu: ")
    for words in said:
        assert words in last, last


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), ("frobnicate",)),
        (("run", "nope"), ("nope", "cria")),
        (("run", "cria", "--bugdet", "3"), ("--bugdet", "--budget")),
        (("run", "cria", "--budget", "0"), ("budget", "above 0")),
        (("run", "cria", "--budget", "-1"), ("budget", "above 0")),
        (("run", "cria", "--budget", "nan"), ("budget",)),
        (("run", "cria", "--budget", "soon"), ("budget", "soon")),
        (("run", "cria", "--vocabulary", "100"), ("vocabulary", "512")),
        (("run", "cria", "--sources", "no-such-source"), ("no-such-source", "everyday-english")),
        (("run", "cria", "--sources", "folder:/no/such/folder"), ("/no/such/folder",)),
        (("run", "cria", "--seed", "9" * 23), ("the seed has 23 digits",)),
        (("layout", "nothing-here", "tp=2"), ("nothing-here",)),
        (("layout", "/etc/hostname", "tp=2"), ("/etc/hostname",)),
        (("why", "nope"), ("there is no recipe 'nope'; choose one of", "cria")),
        (("chat", "nothing-here"), ("nothing-here", "ayllu run cria")),
        (("chat", "/no/such/model"), ("/no/such/model",)),
        (("chat", "x", "--temperature", "-1"), ("temperature",)),
        (("serve", "nothing-here"), ("nothing-here",)),
        (("release", "verify", "/no/such/release"), ("/no/such/release",)),
    ],
)
def test_one_sentence(arguments: tuple[str, ...], said: tuple[str, ...], tmp_path: Path) -> None:
    refused(ayllu(*arguments, home=tmp_path / "home"), *said)
    assert not list((tmp_path / "home").glob("artifacts/*"))


def test_an_empty_corpus(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    done = ayllu("run", "cria", "--sources", f"folder:{tmp_path / 'texts'}", home=tmp_path / "home")
    refused(done)
    assert not list((tmp_path / "home").glob("artifacts/*"))


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes(bytes(range(128, 256)) * 100)
    sources = ("--sources", f"folder:{tmp_path / 'texts'}", "--licence", "MIT")
    refused(ayllu("run", "cria", *sources, home=tmp_path / "home"), "a.txt")


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(ayllu("run", "cria", home=tmp_path / "file"), "--home")


def test_a_name_that_no_release_can_have_is_refused_before_any_work(tmp_path: Path) -> None:
    """A channel may be called so, and hours later the last stage would find that a release may not."""
    refused(ayllu("run", "cria", "--name", "assistant@stable", home=tmp_path), "use letters, digits, dots, dashes")
    assert not list(tmp_path.glob("artifacts/*")) and not list(tmp_path.glob("jobs/*.json"))


def test_a_full_disk(small_disk: Path, english_texts: Path) -> None:
    sources = ("--sources", f"folder:{english_texts}", "--licence", "MIT", "--budget", "0.05")
    done = ayllu("run", "cria", *sources, home=small_disk)
    refused(done, "No space left on device")
    for artifact in small_disk.glob("artifacts/*"):
        files = json.loads((artifact / "manifest.json").read_text())["files"]
        assert all((artifact / name).stat().st_size == facts["bytes"] for name, facts in files.items())


def test_a_port_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_tiny_model(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(ayllu("serve", str(folder), "--port", str(port), home=tmp_path / "home"), str(port))


def test_help_explains_itself(tmp_path: Path) -> None:
    done = ayllu("--help", home=tmp_path)
    assert done.returncode == 0
    for word in ("run", "chat", "serve", "release"):
        assert word in done.stdout
    assert "--budget" in ayllu("run", "cria", "--help", home=tmp_path).stdout


def test_why_as_json(tmp_path: Path) -> None:
    done = ayllu("why", "cria", "--json", home=tmp_path)
    stages = json.loads(done.stdout)["stages"]
    assert [row["state"] for row in stages] == ["runs"] * len(stages)
    assert stages[0]["stage"] == "corpus"


HEAVY = (
    *("torch", "transformers", "matplotlib", "fastapi", "uvicorn", "pyarrow", "numpy", "pydantic", "yaml", "httpx2"),
    *("tokenizers", "safetensors", "cryptography", "huggingface_hub", "ayllu.api.models", "ayllu.cli.models"),
)


def test_help_imports_only_what_it_prints() -> None:
    program = (
        "import sys\n"
        "from ayllu.cli.main import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "release" in done.stdout
    assert done.stderr.strip() == "[]"


def test_every_command_says_the_same_of_itself_as_the_list_of_commands() -> None:
    for name, (place, said) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(f"ayllu.cli.{module}"), attribute)
        if not isinstance(found, App):
            assert inspect.getdoc(found).splitlines()[0] == said, name


def test_every_option_of_a_command_is_used() -> None:
    """An option that is taken and passed on to nobody changes nothing, and nobody is told."""
    taken, unused = 0, []
    for file in sorted(Path(inspect.getfile(main)).parent.glob("*.py")):
        for function in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)):
            asked = (*function.args.posonlyargs, *function.args.kwonlyargs)
            # What has one value only says nothing.
            given = {a.arg for a in asked if not re.search(r"Literal\['[^',]*'\]", ast.unparse(a.annotation or a))}
            read = {node.id for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)}
            taken += len(given)
            unused += [f"{file.name}: {function.name} takes {name}" for name in sorted(given - read)]
    assert unused == []
    assert taken > 100


def test_an_unknown_command_is_answered_with_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, known in (("foo", COMMANDS), ("run foo", ("cria", "llama", "smol", "draft", "see"))):
        with pytest.raises(SystemExit):
            main(asked.split())
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert set(told.partition("Available commands: ")[2].partition(";")[0].split(", ")) == set(known)


def test_an_option_of_several_values_takes_them_as_help_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        "--sources sotu nowhere --budget 5",
        "--sources sotu --sources nowhere",
        "--budget 5 --sources nowhere",
    ):
        with pytest.raises(SystemExit):
            main(["run", "cria", *words.split()])
        assert "no source is called nowhere" in capsys.readouterr().err
