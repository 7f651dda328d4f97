"""Ways on which code is reached that no name in the body gives away: each change on them is told all the same."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ayllu.lab.code.reached import Code, reached

TABLE = "T = {}\ndef add(f):\n    T['g'] = f\n    return f\n"
FROM_TABLE = "def body(ctx):\n    return T['g']()\n"
FILE = "from pathlib import Path\n"
ONE_AND_TWO = {"one.py": "def rate():\n    return 1\n", "two.py": "def rate():\n    return 2\n"}

Files = dict[str, str]
WAYS: dict[str, tuple[Files, tuple[str, str, str]]] = {
    "a property made by a call": (
        {"way.py": "class A:\n    def _n(self): return 1\n    n = property(_n)\ndef body(ctx): return A().n\n"},
        ("way.py", "return 1", "return 2"),
    ),
    "a method under a second name": (
        {"way.py": "class A:\n    def f(self): return 1\n    __call__ = f\ndef body(ctx): return A()()\n"},
        ("way.py", "return 1", "return 2"),
    ),
    "a method by its argument's type": (
        {
            "way.py": "from functools import singledispatchmethod\nclass A:\n    @singledispatchmethod\n"
            "    def f(self, x): return x\n    @f.register\n    def _(self, x: int): return 1\n"
            "def body(ctx): return A().f(1)\n"
        },
        ("way.py", "return 1", "return 2"),
    ),
    "an import inside for what it does": (
        {
            "way.py": "from .table import T\ndef body(ctx):\n    import PK.side\n    return T['g']()\n",
            "table.py": TABLE,
            "side.py": "from .table import T\ndef g(): return 4\nT['g'] = g\n",
        },
        ("side.py", "return 4", "return 5"),
    ),
    "a decorator from elsewhere": (
        {"way.py": f"from .table import T, add\n@add\ndef g(): return 4\n{FROM_TABLE}", "table.py": TABLE},
        ("way.py", "return 4", "return 5"),
    ),
    "a package of what enters itself": (
        {
            "way.py": f"from .table import T\nfrom . import plugs\n{FROM_TABLE}",
            "table.py": TABLE,
            "plugs/__init__.py": "from . import one\n",
            "plugs/one.py": "from ..table import add\n@add\ndef g(): return 4\n",
        },
        ("plugs/one.py", "return 4", "return 5"),
    ),
    "a call that enters a function": (
        {"way.py": f"from .table import T, add\ndef g(): return 4\n_ = add(g)\n{FROM_TABLE}", "table.py": TABLE},
        ("way.py", "return 4", "return 5"),
    ),
    "a table that another module adds to": (
        {
            "way.py": f"from .table import T\nfrom . import side\n{FROM_TABLE}",
            "table.py": TABLE,
            "side.py": "from .table import T\ndef g(): return 4\nT |= {'g': g}\n",
        },
        ("side.py", "return 4", "return 5"),
    ),
    "a base that is told of its subclasses": (
        {
            "way.py": "from .base import T\nfrom . import side\ndef body(ctx):\n    return T['Sub']().go()\n",
            "base.py": "T = {}\nclass Base:\n    def __init_subclass__(cls): T[cls.__name__] = cls\n",
            "side.py": "from .base import Base\nclass Sub(Base):\n    def go(self): return 4\n",
        },
        ("side.py", "return 4", "return 5"),
    ),
    "a base that is asked for its subclasses": (
        {
            "way.py": "class Base: pass\nclass Sub(Base):\n    def go(self): return 4\n"
            "def body(ctx):\n    return [sub().go() for sub in Base.__subclasses__()]\n"
        },
        ("way.py", "return 4", "return 5"),
    ),
    "a function inside a match": (
        {
            "way.py": "from .m import f\ndef body(ctx): return f()\n",
            "m.py": "import sys\nfrom .h import h\nmatch sys.byteorder:\n    case _:\n        def f(): return h()\n",
            "h.py": "def h(): return 1\n",
        },
        ("h.py", "return 1", "return 2"),
    ),
    "an import in a loop": (
        {"way.py": "for n in range(1):\n    from .h import h\ndef body(ctx): return h()\n", "h.py": "h = id\n"},
        ("h.py", "id", "len"),
    ),
    "a value that an expression binds": (
        {"way.py": "from .m import n\ndef body(ctx): return n\n", "m.py": "print('', end='') if (n := 5) else 0\n"},
        ("m.py", "5", "6"),
    ),
    "a module by its name": (
        {
            "way.py": "import importlib\ndef body(ctx):\n    return importlib.import_module('PK.h').h()\n",
            "h.py": "def h(): return 1\n",
        },
        ("h.py", "return 1", "return 2"),
    ),
    "a module that is loaded when it is asked for": (
        {
            "way.py": "from . import late\ndef body(ctx): return late.h()\n",
            "late.py": "import importlib\nWHERE = {'h': '.h'}\ndef __getattr__(name):\n"
            "    return getattr(importlib.import_module(WHERE[name], __package__), name)\n",
            "h.py": "def h(): return 1\n",
        },
        ("h.py", "return 1", "return 2"),
    ),
    "a package around a module": (
        {
            "way.py": "from .sub.m import f\ndef body(ctx): return f()\n",
            "sub/__init__.py": "from . import m\nm.LIMIT = 5\n",
            "sub/m.py": "LIMIT = 1\ndef f(): return LIMIT\n",
        },
        ("sub/__init__.py", "5", "6"),
    ),
    "an annotation in quotation marks": (
        {"way.py": "class Box:\n    def n(self): return 1\ndef body(ctx, box: 'list[Box]'): return box[0].n()\n"},
        ("way.py", "return 1", "return 2"),
    ),
    "a name in a comprehension that is read outside it": (
        {"way.py": "from .h import h\ndef body(ctx): return [h for h in h()]\n", "h.py": "def h(): return [1]\n"},
        ("h.py", "[1]", "[2]"),
    ),
    "a file in a folder that is named apart": (
        {
            "way.py": f"{FILE}DATA = Path(__file__).parent / 'data'\n"
            "def body(ctx): return (DATA / 'words.txt').read_text()\n",
            "data/words.txt": "one",
        },
        ("data/words.txt", "one", "two"),
    ),
    "a file of the package around": (
        {
            "way.py": "from .sub.m import f\ndef body(ctx): return f()\n",
            "sub/__init__.py": "",
            "sub/m.py": f"{FILE}def f(): return (Path(__file__).parents[1] / 'words.txt').read_text()\n",
            "words.txt": "one",
        },
        ("words.txt", "one", "two"),
    ),
    "a star that is another library's": (
        {"way.py": "from math import *\ndef body(ctx): return sqrt(4)\n"},
        ("way.py", "math", "cmath"),
    ),
    "an import of another that is reached anyway": (
        {
            "way.py": "from .one import rate\nfrom .other import g\ndef body(ctx): return rate() + g() * 2\n",
            "other.py": "from .one import rate\nfrom .two import rate as two\ndef g(): return rate() + two()\n",
            **ONE_AND_TWO,
        },
        ("way.py", ".one", ".two"),
    ),
    "names that a package exchanges": (
        {
            "way.py": "from .both import f, g\ndef body(ctx): return f() - g()\n",
            "both.py": "from .one import rate as f\nfrom .two import rate as g\n",
            **ONE_AND_TWO,
        },
        ("both.py", "one import rate as f\nfrom .two", "two import rate as f\nfrom .one"),
    ),
    "the later of two imports": (
        {"way.py": "from .one import rate\nfrom .two import rate\ndef body(ctx): return rate()\n", **ONE_AND_TWO},
        ("way.py", "one import rate\nfrom .two", "two import rate\nfrom .one"),
    ),
    "an exception in a group": (
        {
            "way.py": "try:\n    from .fast import h\nexcept* ImportError:\n    from .h import h\ndef body(ctx): h()\n",
            "h.py": "def h(): return 1\n",
        },
        ("h.py", "return 1", "return 2"),
    ),
}


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """What is told of a change to a package of files, by the code that `roots` of its module `way` reach."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def of(
        files: Files,
        change: tuple[str, str, str],
        roots: Callable[[ModuleType], object] = lambda way: way.body,
        kept: Callable[[Code], Code] = lambda code: code,
    ) -> list[str]:
        name = f"ways_{abs(hash(str(tmp_path)))}_{len(names)}"
        names.append(name)
        for file, text in {"__init__.py": "", **files}.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("PK", name))
        root = roots(importlib.import_module(f"{name}.way"))
        before = kept(Code.read(reached(root).as_json()))
        file, old, new = change
        path = tmp_path / name / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return [part.removeprefix(f"{name}.").removeprefix(f"{name}/") for part in reached(root).changed(before)]

    yield of
    for module in [module for module in sys.modules if module.startswith(tuple(names))]:
        del sys.modules[module]


@pytest.mark.parametrize("way", WAYS)
def test_a_change_on_a_hidden_way_is_told(changed: Callable[..., list[str]], way: str) -> None:
    assert changed(*WAYS[way]) != []


def test_the_function_whose_name_stands_for_another_is_named(changed: Callable[..., list[str]]) -> None:
    assert changed(*WAYS["names that a package exchanges"]) == ["way.body"]


OPENER = "class Box:\n    @classmethod\n    def load(cls, folder): return 1\n    def apart(self): return 9\n"
PARTIAL = "import functools\ndef h(): return 1\ndef f(g): return g()\nP = functools.partial(f, h)\n"
TIMED = "def timed(f):\n    def inner(*given): return f(*given)\n    return inner\ndef h(): return 1\nP = timed(h)\n"


@pytest.mark.parametrize(
    ("text", "roots"),
    [
        pytest.param(OPENER, lambda way: way.Box.load, id="a method that opens an input"),
        pytest.param(PARTIAL, lambda way: way.P, id="a function that is bound to another"),
        pytest.param(TIMED, lambda way: way.P, id="a function in a decorator that does not say what it wraps"),
    ],
)
def test_all_of_a_root_counts(
    changed: Callable[..., list[str]], text: str, roots: Callable[[ModuleType], object]
) -> None:
    assert changed({"way.py": text}, ("way.py", "return 1", "return 2"), roots) != []


def test_what_is_beside_these_ways_says_nothing(changed: Callable[..., list[str]]) -> None:
    assert changed({"way.py": OPENER}, ("way.py", "return 9", "return 8"), lambda way: way.Box.load) == []
    files, _ = WAYS["a package of what enters itself"]
    beside = {**files, "plugs/one.py": f"{files['plugs/one.py']}def apart(): return 9\nLIMIT = 3\n", "n.txt": "one"}
    assert changed(beside, ("plugs/one.py", "return 9", "return 8")) == []


def test_a_type_checker_s_imports_run_nothing(changed: Callable[..., list[str]]) -> None:
    files = {
        "way.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import side\ndef body(ctx): ...\n",
        "side.py": "print('1')\n",
    }
    assert changed(files, ("side.py", "1", "2")) == []


def test_a_record_from_before_meanings_were_kept_tells_what_it_can(changed: Callable[..., list[str]]) -> None:
    def older(code: Code) -> Code:
        seen = {name: digest for name, digest in code.parts.items() if "plugs" not in name}
        return Code(parts=seen, libraries={})

    files, _ = WAYS["a package of what enters itself"]
    assert changed(files, ("plugs/one.py", "return 4", "return 5"), kept=older) == []
    assert changed(files, ("way.py", "T['g']()", "T['g']() + 1"), kept=older) == ["way.body"]
