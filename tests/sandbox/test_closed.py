"""Without a sandbox nothing runs, and one sentence says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.cli.main import main
from ayllu.sandbox import bubblewrap, expressions, seccomp
from ayllu.sandbox.outcome import Limits, NoSandbox
from ayllu.sandbox.session import run


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """What was found out before is forgotten."""
    bubblewrap.require.cache_clear()
    yield
    bubblewrap.require.cache_clear()


def test_no_bubblewrap_is_a_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *given, **more: None)
    (tmp_path / "program.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(SystemExit) as left:
        main(["sandbox", "run", str(tmp_path / "program.py")])
    told = capfd.readouterr()
    assert left.value.code == 2 and told.out == "" and not (tmp_path / "ran").exists()
    assert "there is no sandbox on this machine, so nothing was run: install bubblewrap (apt-get install" in told.err


def test_what_bubblewrap_says_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda *given, **more: str(fake))
    with pytest.raises(NoSandbox, match=r"No permissions to create new namespace\), so nothing was run"):
        run("print(1)")


def test_another_system_and_another_processor_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(NoSandbox, match="x86_64 and aarch64 only"):
        bubblewrap.program()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(NoSandbox, match="on Linux only, and this is darwin"):
        bubblewrap.program()
    assert seccomp.machine() is None


def test_expressions_without_their_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "installed", lambda: False)
    with pytest.raises(NoSandbox, match=r"pip install 'ayllu\[sandbox\]'"):
        expressions.evaluate("1 + 1")


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds is 0; it must be above 0"):
        Limits(seconds=0)
