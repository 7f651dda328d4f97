"""The graph of a recipe: stages, and handles of what they make. `ayllu.lab.run.resolve` does the work.

@stage(identity="mylab.clean", makes=Corpus)
def clean(ctx: Context, raw: Handle[Corpus], *, shortest: int) -> None: ...

handle = clean(raw, shortest=200)      # nothing has run; mypy knows Handle[Corpus] and refuses other wirings
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ayllu.lab.error import UserError
from ayllu.lab.integrity import regular_text
from ayllu.lab.key import stable
from ayllu.lab.progress import say
from ayllu.lab.store import Artifact, write_atomically

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Context:
    """What a running stage is given besides its inputs and arguments. Nothing of it can enter a key."""

    def __init__(
        self,
        *,
        folder: Path,
        scratch: Path,
        cache: Path,
        logs: Path | None = None,
        layout: Any = None,
        main: bool = True,
        command: str | None = None,
        forecast: Callable[[str, float, float | None, float | None], None] | None = None,
    ) -> None:
        self.folder = folder
        """Empty at the start; becomes the artifact."""
        self.scratch = scratch
        """Survives a killed process; gone when the stage has finished."""
        self.cache = cache
        """Downloads, shared by all stages and runs."""
        self.logs = logs
        """For what people watch while the stage runs; stays when it has finished, and is no part of the artifact."""
        self.layout = layout
        """How a distributed stage spreads its work; None leaves it on this device."""
        self.command = command
        """What was asked for, as a command line, where the runner knows it: for cards, to be read."""
        self.main = main
        """Whether this process makes the artifact and keeps the record; others only help it to compute."""
        self._forecast = forecast
        self._journal = scratch / "record.json"
        self._kept: dict[str, dict[str, Any]] = {"record": {}, "predictions": {}}
        if self._journal.exists():
            self._kept = _read_journal(self._journal) or self._kept

    def note(self, name: str, value: Any) -> None:
        """Keep a measured value (JSON) in the record; the last one counts."""
        self._kept["record"][name] = value
        self._save()

    def predict(self, name: str, value: Any, *, low: float | None = None, high: float | None = None) -> None:
        """Keep what is expected before it is measured; the first one counts, also after a kill.

        `low` and `high` are the ends of an 80 % interval; without them it follows from what came of earlier ones.
        """
        if name not in self._kept["predictions"]:
            self._kept["predictions"][name] = value
            if self.main and self._forecast is not None and isinstance(value, int | float):
                self._forecast(name, float(value), low, high)
        self._save()

    @property
    def record(self) -> dict[str, Any]:
        return self._kept["record"]

    @property
    def predictions(self) -> dict[str, Any]:
        return self._kept["predictions"]

    def _save(self) -> None:
        if not self.main:
            return
        write_atomically(self._journal, json.dumps(self._kept))


def _read_journal(path: Path) -> dict[str, dict[str, Any]] | None:
    """What a killed process has noted; None, and a line that says so, where that is damaged."""
    try:
        kept = json.loads(regular_text(path))
    except (OSError, ValueError, RecursionError):
        kept = None
    if isinstance(kept, dict) and all(isinstance(kept.get(name), dict) for name in ("record", "predictions")):
        return kept
    say(f"{path} is damaged: what was noted before the work was interrupted is not known any more")
    return None


@dataclass(frozen=True, eq=False)
class Handle(Generic[T_co]):
    """A result that may not exist yet: a stage with its inputs and arguments."""

    stage: Stage[..., T_co]
    inputs: Mapping[str, Handle[Any]]
    arguments: Mapping[str, Any]

    @property
    def artifact(self) -> Artifact:
        """The finished folder and its manifest. Only a stage that takes this handle in can ask."""
        raise RuntimeError(f"{self.stage.identity} has not been made: only a stage that takes it in can look inside")

    @property
    def value(self) -> T_co:
        """What the stage makes, opened. Only a stage that takes this handle in can ask."""
        return self.stage.makes(self.artifact.folder)

    def made(self, artifact: Artifact) -> Handle[T_co]:
        """This handle with the artifact that it stands for: what the body of a stage is given."""
        return _Made(self.stage, self.inputs, self.arguments, artifact)


@dataclass(frozen=True, eq=False)
class _Made(Handle[T_co]):
    finished: Artifact

    @property
    def artifact(self) -> Artifact:
        return self.finished


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(Generic[P, T_co]):
    """A function `work(ctx, inputs…, arguments…)` that writes `ctx.folder`, which `makes` then opens."""

    work: Callable[Concatenate[Context, P], None]
    identity: str
    """The stage's name in keys, folders and records: it stays when the function is moved or renamed."""
    makes: Callable[[Path], T_co]
    """Opens the finished folder for the stages that take it in."""
    rev: int = 1
    distributed: bool = False
    """Whether all processes of a job do this stage together; the first one alone does the others."""
    reruns: bool = False
    """Whether it is made again by itself when its code has changed: for what is made in seconds."""
    publishes: bool = False
    """Whether it makes what leaves this machine: every byte of its inputs is read and compared before."""
    names_in_key: Mapping[str, str] = field(default_factory=dict)
    """Parameters whose name in the key is another than in the code."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that came later, with the value that says what was done before: with it they stay out of the key."""
    reaches: Callable[[Mapping[str, Any]], Iterable[object]] = lambda arguments: ()
    """Functions and classes that the work comes to by way of its arguments, which reading the code cannot tell."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle[T_co]:
        """Describe one call. Handles become inputs, everything else arguments, which must have a stable form."""
        bound = inspect.signature(self.work).bind(None, *args, **kwargs)
        bound.apply_defaults()
        given = dict(list(bound.arguments.items())[1:])
        inputs = {name: value for name, value in given.items() if isinstance(value, Handle)}
        arguments = {name: value for name, value in given.items() if name not in inputs}
        for name, value in arguments.items():
            stable(value, f"{self.identity}: {name}")
        return Handle(self, inputs, arguments)

    def in_key(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs or arguments by their names in the key, without those that came later and say nothing new."""
        return {
            self.names_in_key.get(name, name): value
            for name, value in named.items()
            if name not in self.added or value != self.added[name]
        }

    def run(self, context: Context, inputs: Mapping[str, Handle[Any]], arguments: Mapping[str, Any]) -> None:
        """Do the work: what the runner calls once the inputs are made."""
        work: Callable[..., None] = self.work
        work(context, **inputs, **arguments)


@overload
def stage(
    *,
    identity: str | None = None,
    rev: int = 1,
    distributed: bool = False,
    reruns: bool = False,
    publishes: bool = False,
    names_in_key: Mapping[str, str] | None = None,
    added: Mapping[str, Any] | None = None,
    reaches: Callable[[Mapping[str, Any]], Iterable[object]] | None = None,
) -> Callable[[Callable[Concatenate[Context, P], None]], Stage[P, Path]]: ...


@overload
def stage(
    *,
    makes: Callable[[Path], T],
    identity: str | None = None,
    rev: int = 1,
    distributed: bool = False,
    reruns: bool = False,
    publishes: bool = False,
    names_in_key: Mapping[str, str] | None = None,
    added: Mapping[str, Any] | None = None,
    reaches: Callable[[Mapping[str, Any]], Iterable[object]] | None = None,
) -> Callable[[Callable[Concatenate[Context, P], None]], Stage[P, T]]: ...


def stage(
    *, makes: Callable[[Path], Any] = Path, identity: str | None = None, **options: Any
) -> Callable[[Callable[Concatenate[Context, P], None]], Stage[P, Any]]:
    """Turn a function into a stage.

    `identity` is its name in keys; without it, the module and the function's name, so that two functions of one name
    in two files never share results. Raise `rev` when the behaviour changes: old results are then not taken for new.
    The other options are the fields of `Stage`. Raises UserError where another function has declared the identity.
    """
    given = {name: value for name, value in options.items() if value is not None}

    def wrap(work: Callable[Concatenate[Context, P], None]) -> Stage[P, Any]:
        if not inspect.isroutine(work):
            raise UserError(f"a stage is a function that takes a context first, and this is {work!r:.80}; write a def")
        chosen = identity or _qualified(work)
        _declare(chosen, work)
        return Stage(work=work, identity=chosen, makes=makes, **given)

    return wrap


VALUES = str | int | float | complex | bytes | bytearray | list | tuple | dict | set | frozenset | PurePath | partial
"""With frozen dataclasses, what a stage's function must not take from around it."""

LONGEST_IDENTITY = 200
"""Bytes: names of folders have room for 255 at most, and hold a key besides."""

_DECLARED: dict[str, tuple[str, str]] = {}
"""File and qualified name of the function behind each identity of this process."""


def _declare(identity: str, work: Callable[..., None]) -> None:
    if not re.fullmatch(r"\w[\w.@+-]*", identity):
        raise UserError(f"{identity!r} cannot identify a stage; use letters, digits and . _ - as in mylab.clean")
    if len(identity.encode()) > LONGEST_IDENTITY:
        raise UserError(
            f"the identity of the stage {identity[:40]}… has {len(identity.encode())} bytes, too many for the name of "
            f"a folder; give it one of at most {LONGEST_IDENTITY}"
        )
    # A cell of a notebook is another "file" each time that it is run.
    file = inspect.getsourcefile(work) or ""
    mine = (file if Path(file).is_file() and "ipykernel" not in file else "this session", work.__qualname__)
    around = zip(work.__code__.co_freevars, work.__closure__ or (), strict=True) if inspect.isfunction(work) else ()
    hidden = [name for name, cell in around if _hides(cell)]
    if hidden:
        raise UserError(
            f"the stage {identity!r} uses {', '.join(hidden)} of the function around it, which no key would hold; make "
            "it an argument of the stage"
        )
    for parameter in list(inspect.signature(work).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UserError(
                f"the stage {identity!r} has the parameter {str(parameter)!r}, which no key can hold; give it a name"
            )
    theirs = _DECLARED.setdefault(identity, mine)
    if mine != theirs:
        raise UserError(
            f"two functions are the stage {identity!r}: {theirs[1]} in {theirs[0]} and {mine[1]} in {mine[0]}; give "
            "one of them another identity"
        )


def _hides(cell: Any) -> bool:
    """Whether a variable around a stage's function holds a value: two stages that differ in it would share results.

    What has functions in it is code, and code that changes is told; what else it holds its author puts into the key.
    """
    try:
        value = cell.cell_contents
    except ValueError:  # a function that is defined further down
        return False
    if isinstance(value, VALUES):
        return True
    try:
        stable(value)
    except TypeError:
        return False
    return True


def order(handle: Handle[Any]) -> list[Handle[Any]]:
    """All handles that `handle` needs and itself, each after its inputs, each once.

    Raises UserError for anything else.
    """
    if not isinstance(handle, Handle):
        raise UserError(
            f"a recipe returns the handle of its last stage, and this is {handle!r:.80}; return that handle"
        )
    found: dict[Handle[Any], None] = {}

    def visit(node: Handle[Any]) -> None:
        if node not in found:
            for source in node.inputs.values():
                visit(source)
            found[node] = None

    visit(handle)
    return list(found)


def labels(nodes: Sequence[Handle[Any]]) -> dict[Handle[Any], str]:
    """What to call each of `nodes`, which `order` gave, so that no two have one name.

    A stage is called by its identity; where it is used several times, with the argument, or else the input, that tells
    its uses apart: `teach(method=sft)`.
    """
    groups: dict[str, list[Handle[Any]]] = {}
    for node in nodes:
        groups.setdefault(node.stage.identity, []).append(node)
    found: dict[Handle[Any], str] = {}
    for node in nodes:
        alike = groups[node.stage.identity]
        name = node.stage.identity if len(alike) == 1 else _told_apart(node, alike, found)
        found[node] = name if name not in found.values() else f"{name}#{alike.index(node) + 1}"
    return found


def _told_apart(node: Handle[Any], alike: Sequence[Handle[Any]], named: Mapping[Handle[Any], str]) -> str:
    """A node's identity with the one thing that all of `alike` differ in, words before numbers, or all such things."""
    arguments = sorted(node.arguments, key=lambda name: not isinstance(node.arguments[name], str))
    told = {name: [_brief(other.arguments.get(name)) for other in alike] for name in arguments}
    told |= {name: [named.get(other.inputs.get(name, other), "") for other in alike] for name in node.inputs}
    mine = alike.index(node)
    best = next((name for name, values in told.items() if len(set(values)) == len(values)), None)
    names = [best] if best else [name for name, values in told.items() if len(set(values)) > 1]
    told_of = ", ".join(f"{name}={told[name][mine]}" for name in names)
    return f"{node.stage.identity}({told_of})" if names else node.stage.identity


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(stable(value))
    return text if len(text) <= 40 else f"{text[:39]}…"


def _qualified(work: Callable[..., None]) -> str:
    """`module.function`, for a function of the program that was started the name of its file or module."""
    module = work.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec else Path(file).stem if file else "interactive"
    return re.sub(r"[^\w.@+-]", "_", f"{module}.{work.__qualname__}".replace(".<locals>", ""))
