"""Run a program where it can reach nothing, and try whether that holds on this machine."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclopts

from ayllu.cli.options import Json, print_json, print_lines
from ayllu.lab.error import UserError
from ayllu.lab.progress import bar
from ayllu.lab.visible import visible

if TYPE_CHECKING:
    from ayllu.sandbox.escapes.suite import Result
    from ayllu.sandbox.outcome import Limits, Outcome

app = cyclopts.App(
    name="sandbox", help="Run programs of others where they can reach nothing, and try whether that holds."
)


@app.command
def run(
    file: Path,
    /,
    *arguments: str,
    give: list[Path] | None = None,
    take: Path | None = None,
    stdin: Path | None = None,
    seconds: float = 30.0,
    memory_mib: int = 1024,
    processes: int = 64,
    json: Json = False,
) -> int:
    """Run a Python program in a sandbox: no network, no files but those that you give, bounds on all that it takes.

    Exits with 0 when the program ended well, and with 1 otherwise.

    Parameters
    ----------
    file
        The program.
    arguments
        What it finds in `sys.argv`; after `--` when they begin with a dash.
    give
        A file or a folder to copy into its work folder; can be given several times. Links are not followed.
    take
        The folder to which files that it makes, and its figures, are copied; without it they are only counted.
    stdin
        A file that it reads as its standard input.
    seconds
        How long it may run.
    memory_mib
        How much memory it may take, its work folder aside.
    processes
        How many processes and threads it may have at one time.
    """
    from ayllu.sandbox.files import give as write
    from ayllu.sandbox.outcome import Limits
    from ayllu.sandbox.session import Session

    with _told():
        limits = Limits(seconds=seconds, memory_mib=memory_mib, processes=processes)
        files = _given(give or [], limits)
        with Session(limits=limits) as session:
            outcome = session.program(
                _text(file),
                files=files,
                stdin=_text(stdin) if stdin else "",
                arguments=arguments,
                name=file.name,
            )
    if take is not None:
        take.mkdir(parents=True, exist_ok=True)
        pictures = {f"figure-{number}.png": one for number, one in enumerate(outcome.pictures, start=1)}
        write(take, {**pictures, **outcome.files})
    if json:
        print_json(_as_json(outcome), indent=2)
    else:
        _show(outcome, take)
    return 0 if outcome.status == "ok" else 1


@app.command
def test(*, only: list[str] | None = None, json: Json = False) -> int:
    """Try to get out of the sandbox in all ways that we know, each harmless, and say what held.

    Exits with 0 when nothing got through, and with 1 otherwise. Each attempt is made without the sandbox too, to show
    that it would succeed there, or it is said why not.

    Parameters
    ----------
    only
        A group (files, network, …) or the name of an attempt; can be given several times.
    """
    from ayllu.sandbox.escapes.suite import attempts, machine, run_suite

    with _told():
        here = machine()
        chosen = [one for one in attempts() if not only or one.group in only or one.name in only]
        if not chosen:
            groups = ", ".join(sorted({one.group for one in attempts()}))
            raise UserError(f"there is no attempt called {' or '.join(only or [])}; groups are {groups}")
        with bar("attempts", total=len(chosen), unit="attempts") as progress:
            results = run_suite(chosen, done=lambda result: progress.advance(note=result.attempt.name))
    escaped = [result for result in results if result.escaped]
    if json:
        print_json(_report(here, results), indent=2)
    else:
        _show_results(results)
    return 1 if escaped else 0


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the sandbox raises for want of something, as a sentence to the user."""
    from ayllu.sandbox.outcome import NoSandbox

    try:
        yield
    except (NoSandbox, ValueError) as error:
        raise UserError(visible(str(error))) from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is no text in UTF-8; give a Python program") from None


def _given(places: list[Path], limits: Limits) -> dict[str, bytes]:
    """The files to copy in: those of a folder by their paths below it."""
    from ayllu.sandbox.files import take

    files: dict[str, bytes] = {}
    most = limits.work_mib << 20
    for place in places:
        if place.is_dir():
            files |= take(place, most=most)
        elif place.is_symlink() or not place.is_file():
            raise UserError(f"{place} is no file and no folder (links are not followed); give what is to be copied")
        else:
            files[place.name] = place.read_bytes()
    if (size := sum(map(len, files.values()))) > most:
        raise UserError(f"the files given have {size:,} bytes, and the work folder holds {most:,}; give fewer")
    return files


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
        "files": [{"name": name, "bytes": len(content)} for name, content in outcome.files.items()],
        "pictures": len(outcome.pictures),
        "notes": list(outcome.notes),
    }


def _show(outcome: Outcome, take: Path | None) -> None:
    sys.stdout.write(visible(outcome.stdout, keep="\n\t"))
    sys.stdout.flush()
    told = visible(outcome.stderr, keep="\n\t")
    if outcome.error and outcome.exit_code is None:
        told += f"{visible(outcome.error, keep=chr(10))}\n"
    made = [*outcome.files, *(f"figure-{number}.png" for number in range(1, len(outcome.pictures) + 1))]
    if made:
        where = f"in {take}" if take else "left inside; --take FOLDER keeps them"
        told += f"made {', '.join(map(visible, made))} ({where})\n"
    told += "".join(f"{visible(note)}\n" for note in outcome.notes)
    sys.stderr.write(told)


def _report(here: dict[str, Any], results: list[Result]) -> dict[str, Any]:
    return {
        "attempts": len(results),
        "escaped": sum(result.escaped for result in results),
        "held": sum(not result.escaped for result in results),
        "succeed_outside": sum(result.outside is True for result in results),
        "fail_outside_too": sum(result.outside is False for result in results),
        "not_tried_outside": sum(result.outside is None for result in results),
        "machine": here,
        "results": [result.told() for result in results],
    }


def _show_results(results: list[Result]) -> None:
    groups = Counter(result.attempt.group for result in results)
    lines = []
    for group in groups:
        lines.append(f"{group}:")
        for result in (one for one in results if one.attempt.group == group):
            told = result.told()
            state = "held" if told["held"] else "ESCAPED"
            lines.append(f"  {state:<8}{told['tried']} · {told['how']} · outside: {told['outside']}")
    escaped = sum(result.escaped for result in results)
    shown = sum(result.outside is True for result in results)
    lines.append(f"{len(results)} attempts, {escaped} escaped; {shown} of them succeed where nothing holds them")
    print_lines(lines)
