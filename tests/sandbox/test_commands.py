"""`ayllu sandbox`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ayllu.cli.main import main

pytestmark = pytest.mark.usefixtures("sandbox")


def ran(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["sandbox", *arguments])
    return int(left.value.code or 0)


def test_a_program_runs_with_files_and_what_it_makes_is_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n2\n")
    program = tmp_path / "sum.py"
    program.write_text(
        "import sys\nrows = open('data.csv').read().split()[1:]\n"
        "print(sum(map(int, rows)), sys.argv[1:], '\\x1b[31m')\nopen('made/out.txt', 'w').write('x')"
    )
    program.write_text("import os; os.mkdir('made')\n" + program.read_text())
    code = ran("run", str(program), "one", "--give", str(tmp_path / "data.csv"), "--take", str(tmp_path / "out"))
    told = capfd.readouterr()
    assert code == 0 and told.out == "3 ['one'] \\x1b[31m\n"
    assert (tmp_path / "out/made/out.txt").read_text() == "x" and "made made/out.txt" in told.err


def test_a_failure_is_exit_code_1_and_said_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("print('so far')\n1 / 0")
    assert ran("run", str(tmp_path / "bad.py"), "--json") == 1
    told = json.loads(capfd.readouterr().out)
    assert (told["status"], told["exit_code"], told["stdout"]) == ("error", 1, "so far\n")
    assert "ZeroDivisionError" in told["stderr"]


def test_attempts_are_told_in_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert ran("test", "--only", "own_environment", "--only", "set_clock", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["attempts"], told["escaped"], told["succeed_outside"], told["not_tried_outside"]) == (2, 0, 1, 1)
    assert told["results"][0]["tried"] == "find a secret in the environment" and told["machine"]["bubblewrap"]


def test_an_unknown_attempt_and_a_link_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ran("test", "--only", "nothing") == 2
    (tmp_path / "p.py").write_text("1")
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert ran("run", str(tmp_path / "p.py"), "--give", str(tmp_path / "link")) == 2
    told = capfd.readouterr().err
    assert "there is no attempt called nothing; groups are calls" in told and "links are not followed" in told
