"""The graph of a recipe: wirings that make no sense are refused, by mypy or when they are declared."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, order, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.lab.why import explain

ROOT = Path(__file__).parents[2]
WRONG = Path(__file__).with_name("wrong_wirings.py")


@dataclass(frozen=True)
class Setting:
    size: int


@dataclass(frozen=True)
class Reader:
    """Holds a function: its code is told, and what names it is an argument."""

    read: Callable[..., None]


def test_mypy_refuses_each_wrong_wiring_and_takes_the_right_ones() -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"]
    done = subprocess.run([*command, str(WRONG)], capture_output=True, text=True, cwd=ROOT)
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line and WRONG.name in line}
    expected = {n for n, line in enumerate(WRONG.read_text().splitlines(), 1) if line.endswith("# refused")}
    assert found == expected, done.stdout + done.stderr
    assert len(expected) == 14


def test_two_functions_with_one_identity_are_refused_when_declared() -> None:
    @stage(identity="test.twice")
    def first(ctx: Context) -> None: ...

    with pytest.raises(UserError, match=r"two functions are the stage 'test\.twice': .*first.* and .*second"):

        @stage(identity="test.twice")
        def second(ctx: Context) -> None: ...


def test_a_function_declared_again_is_the_same_one() -> None:
    def declare() -> str:
        @stage()
        def work(ctx: Context) -> None: ...

        return work.identity

    assert declare() == declare()


def test_functions_of_one_name_in_two_files_are_two_stages(tmp_path: Path) -> None:
    body = "from ayllu.lab.graph import stage\n\n@stage()\ndef clean(ctx):\n    (ctx.folder / 'x').write_text('{}')\n"
    (tmp_path / "one.py").write_text(body.format("one"))
    (tmp_path / "two.py").write_text(body.format("two"))
    (tmp_path / "main.py").write_text(
        "import sys\nfrom pathlib import Path\nimport one, two\nfrom ayllu.lab.run import Place, resolve\n"
        "from ayllu.lab.store import Store\nplace = Place(store=Store(Path(sys.argv[1])), cache=Path(sys.argv[1]))\n"
        "for module in (one, two):\n    handle = module.clean()\n"
        "    print((resolve(handle, place)[handle].folder / 'x').read_text())\n"
    )
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["one", "two"]


def test_an_identity_is_a_plain_name() -> None:
    for name in ("", "a b", "../up", "a/b", ".hidden"):
        with pytest.raises(UserError, match="cannot identify a stage"):
            stage(identity=name or " ")(lambda ctx: None)


def test_an_identity_fits_into_the_name_of_a_folder_with_all_that_is_written_beside_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="300 bytes, too many for the name of a folder; give it one of at most 200"):
        stage(identity="x" * 300)(lambda ctx: None)
    longest = stage(identity="x" * 200)(lambda ctx: None)()
    place = Place(store=Store(tmp_path), cache=tmp_path)
    assert resolve(longest, place)[longest].folder.is_dir()
    assert explain(longest, place)[0].state == "kept"


class _Work:
    def __call__(self, ctx: Context) -> None: ...


@pytest.mark.parametrize("work", [_Work, _Work(), functools.partial(lambda ctx, size: None, size=3)])
def test_what_is_no_function_is_no_stage(work: Callable[..., Any]) -> None:
    with pytest.raises(
        UserError, match=r"a stage is a function that takes a context first, and this is .*; write a def"
    ):
        stage(identity="test.no_function")(work)


def test_what_has_not_been_made_cannot_be_looked_into() -> None:
    @stage(identity="test.unmade")
    def unmade(ctx: Context) -> None: ...

    with pytest.raises(RuntimeError, match=r"test\.unmade has not been made"):
        _ = unmade().value


@pytest.mark.parametrize("value", [1, None, b"a", Path("a"), frozenset({1}), functools.partial(print, 1), Setting(3)])
def test_a_stage_that_takes_a_value_from_around_it_is_refused(value: object) -> None:
    def make(k: object) -> None:
        @stage(identity="test.captures")
        def work(ctx: Context) -> None:
            (ctx.folder / "n").write_text(str(k))

    with pytest.raises(UserError, match=r"uses k of the function around it"):
        make(value)
    make(Reader(print))


def test_a_stage_may_call_a_function_that_is_defined_after_it() -> None:
    @stage(identity="test.calls_later")
    def work(ctx: Context) -> None:
        later()

    def later() -> None: ...

    assert work().stage is work


@pytest.mark.parametrize("kind", ["*more", "**more", "first, /"])
def test_parameters_that_cannot_be_passed_on_by_name_are_refused_when_they_are_declared(kind: str) -> None:
    place: dict[str, Any] = {}
    exec(f"def work(ctx, {kind}): ...", place)
    with pytest.raises(UserError, match=r"test\.kinds.*(more|first).*give it a name"):
        stage(identity="test.kinds")(place["work"])


def test_what_is_no_handle_is_said() -> None:
    with pytest.raises(UserError, match=r"a recipe returns the handle of its last stage, and this is 5"):
        order(5)  # type: ignore[arg-type]
