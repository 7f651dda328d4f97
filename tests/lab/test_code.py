"""The code behind a result: a change that a stage reaches is named, one that it does not reach says nothing."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ayllu.lab.code.reached import Code, reached
from ayllu.lab.graph import stage
from ayllu.lab.run import code_of, order

FILES = {
    "__init__.py": '"""A package of somebody who works on it."""\n',
    "work.py": """
from __future__ import annotations
import json
from typing import TYPE_CHECKING
from {name} import room as place
from {name}.room import Tool, TABLE
if TYPE_CHECKING:
    from {name}.typed import Box

def body(ctx, box: Box, unrelated=1):
    \"\"\"What a stage's body is like: thin.\"\"\"
    from {name}.lazy import late
    late(box.content())
    place.through_the_module()
    Tool().use()
    unused = [unrelated for unrelated in TABLE]
""",
    "room.py": """
import numpy
from {name}.deep import deeper as inner
LIMIT = 3
TABLE = {{"first": "words.txt"}}

def through_the_module():
    return inner(LIMIT)

def unrelated():
    return numpy.zeros(2)

class Tool:
    size = 4
    def use(self):
        return self._used()
    def _used(self):
        return 1
    def idle(self):
        return 2
""",
    "deep.py": "def deeper(n):\n    return n + 1\n\ndef apart():\n    return 0\n",
    "lazy.py": "import yaml\n\ndef late(x):\n    return yaml.safe_load(x)\n",
    "typed.py": "class Box:\n    def content(self):\n        return '1'\n    def lid(self):\n        return '2'\n",
    "hooks.py": """
import collections
import torch

class Layer(torch.nn.Module):
    def forward(self, x):
        return x

def build():
    return Layer()
""",
}


class Package:
    """A package of its own for one test, whose files can be changed."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root / name, name
        self.root.mkdir()
        for file, text in FILES.items():
            self.write(file, text.format(name=name) if "{name}" in text else text)

    def write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text)

    def replace(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert old in text
        path = self.root / file
        before = path.stat().st_mtime_ns
        path.write_text(text.replace(old, new))
        assert path.stat().st_mtime_ns != before, "a file system that cannot tell that a file has changed"

    def code(self, module: str = "work", function: str = "body") -> Code:
        return reached(getattr(importlib.import_module(f"{self.name}.{module}"), function))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    name = "somebodys_" + str(abs(hash(request.node.nodeid)))
    yield Package(tmp_path, name)
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("work.py", "place.through_the_module()", "place.through_the_module() or 1", "work.body"),
        ("room.py", "inner(LIMIT)", "inner(LIMIT) + 1", "room.through_the_module"),
        ("room.py", "LIMIT = 3", "LIMIT = 4", "room.LIMIT"),
        ("room.py", "size = 4", "size = 5", "room.Tool"),
        ("room.py", "return 1", "return 7", "room.Tool._used"),
        ("deep.py", "n + 1", "n + 2", "deep.deeper"),
        ("lazy.py", "yaml.safe_load(x)", "yaml.safe_load(x or '')", "lazy.late"),
        ("typed.py", "return '1'", "return '3'", "typed.Box.content"),
    ],
)
def test_a_change_on_the_way_is_named(package: Package, file: str, old: str, new: str, named: str) -> None:
    before = package.code()
    package.replace(file, old, new)
    assert package.code().changed(before) == [f"{package.name}.{named}"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("room.py", "numpy.zeros(2)", "numpy.zeros(3)"),
        ("room.py", "return 2", "return 9"),
        ("deep.py", "return 0", "return 9"),
        ("typed.py", "return '2'", "return '9'"),
        ("hooks.py", "return x", "return x + x"),
        ("work.py", "What a stage's body is like", "Words"),
        ("deep.py", "    return n + 1", "    # the next one\n    return (n  +  1)"),
        ("lazy.py", "import yaml", "import yaml, json"),
    ],
)
def test_a_change_apart_from_the_way_or_of_words_says_nothing(package: Package, file: str, old: str, new: str) -> None:
    before = package.code()
    package.replace(file, old, new)
    assert package.code().changed(before) == []


WAYS = {
    "an alias of a library's function": ("floor", "ceil", """
from math import floor as rnd
def body(ctx):
    rnd(2.5)
"""),
    "an alias inside the function": ("floor", "ceil", """
def body(ctx):
    from math import floor as rnd
    rnd(2.5)
"""),
    "an exception's handler": ("return 1", "return 2", """
try:
    from nolib import f
except ImportError:
    def f():
        return 1
def body(ctx):
    f()
"""),
    "a condition": ("BIG = 1", "BIG = 0", """
BIG = 1
if BIG:
    SIZE = 10
else:
    SIZE = 3
def body(ctx):
    return SIZE
"""),
    "a loop at the top": ("n * 2", "n * 3", """
T = {}
for n in range(3):
    T[n] = n * 2
def body(ctx):
    return T
"""),
    "a table filled by a decorator": ("return 4", "return 5", """
T = {}
def add(f):
    T['x'] = f
    return f
@add
def g():
    return 4
def body(ctx):
    return T['x']()
"""),
    "a global that is written": ("COUNT = 5", "COUNT = 7", """
COUNT = 5
def body(ctx):
    global COUNT
    COUNT += 1
"""),
    "a comprehension's name that a function has too": ("x + 1", "x + 2", """
def row(x):
    return x + 1
def body(ctx):
    rows = [row for row in (1, 2)]
    return row(rows[0])
"""),
    "an enum's hook": ("return cls.A", "return None", """
import enum
class E(enum.Enum):
    A = 1
    @classmethod
    def _missing_(cls, v):
        return cls.A
def body(ctx):
    return E(2)
"""),
    "a property in a pattern": ("return 4", "return 5", """
class R:
    @property
    def size(self):
        return 4
def body(ctx):
    match R():
        case R(size=1):
            return 1
"""),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_ways_on_which_code_is_easily_missed(package: Package, way: str) -> None:
    old, new, text = WAYS[way]
    package.write("way.py", text)
    before = package.code("way")
    package.replace("way.py", old, new)
    assert package.code("way").changed(before) != []


def test_values_that_are_exchanged_have_changed(package: Package) -> None:
    package.write("way.py", "from . import one, two\n\ndef body(ctx):\n    return one.RATE, two.RATE\n")
    package.write("one.py", "RATE = 1\n")
    package.write("two.py", "RATE = 2\n")
    before = package.code("way")
    package.replace("one.py", "1", "2")
    package.replace("two.py", "2", "1")
    assert package.code("way").changed(before) == [f"{package.name}.one.RATE", f"{package.name}.two.RATE"]


def test_names_by_way_of_a_star_a_folder_without_init_and_a_module_as_a_value(package: Package) -> None:
    package.write(
        "way.py",
        "from .stars import *\nfrom .plain import inner\nfrom . import deep\n\ndef body(ctx):\n"
        "    f()\n    inner.g()\n    use(deep)\n",
    )
    package.write("stars.py", "def f():\n    return 1\n\ndef use(m):\n    return m.apart()\n")
    (package.root / "plain").mkdir()
    package.write("plain/inner.py", "def g():\n    return 1\n")
    code = package.code("way")
    assert {f"{package.name}.{part}" for part in ("stars.f", "plain.inner.g", "deep.apart")} <= set(code.parts)


def test_imports_in_a_circle_end(package: Package) -> None:
    package.write("a.py", f"try:\n    from {package.name}.b import X\nexcept ImportError:\n    X = 1\n")
    package.write("b.py", f"from {package.name}.a import X\n")
    package.write("way.py", f"from {package.name}.a import X\n\ndef body(ctx):\n    return X\n")
    assert package.code("way").parts


def test_a_text_beside_the_code_counts(package: Package) -> None:
    package.write("way.py", "from pathlib import Path\ndef body(ctx):\n    return Path(__file__).parent / 'w.txt'\n")
    package.write("w.txt", "one")
    before = package.code("way")
    package.write("w.txt", "two")
    assert package.code("way").changed(before) == [f"{package.name}/w.txt"]


def test_what_opens_an_input_and_a_dataclass_among_the_arguments_count() -> None:
    from ayllu.recipes.stages.corpus import corpus, learn_tokenizer, tokenize

    text = corpus(sources=("sotu",), licence=None)
    code = code_of(tokenize(text, learn_tokenizer(text, size=512), length=64))
    assert "ayllu.recipes.stages.artifacts.open_tokenizer" in code.parts
    assert any(part.startswith("ayllu.text.bpe.") and part.endswith("encode_batch") for part in code.parts)


def test_libraries_on_the_way_count_and_others_do_not(package: Package) -> None:
    code = package.code()
    assert set(code.libraries) == {"yaml"}, "numpy is used by a function that nobody calls"
    other = Code(parts=code.parts, libraries={"yaml": "1.0"})
    assert other.changed(code) == [f"yaml {code.libraries['yaml']} → 1.0"]


def test_a_library_may_call_what_a_class_adds_to_its_base(package: Package) -> None:
    before = package.code("hooks", "build")
    package.replace("hooks.py", "return x", "return x + x")
    assert package.code("hooks", "build").changed(before) == [f"{package.name}.hooks.Layer.forward"]


def test_what_moved_has_not_changed(package: Package) -> None:
    before = package.code()
    text = (package.root / "deep.py").read_text()
    package.write("moved.py", text)
    package.replace("room.py", f"from {package.name}.deep import deeper", f"from {package.name}.moved import deeper")
    assert package.code().changed(before) == []


def test_the_package_s_own_stages_reach_what_they_use_and_not_the_rest() -> None:
    from ayllu.recipes.cria import cria

    codes = {node.stage.identity: code_of(node) for node in order(cria())}
    assert "ayllu.data.cleaning.clean.build_corpus" in codes["corpus"].parts
    assert "ayllu/data/sources/capitals.txt" in codes["corpus"].parts, "a file that the code names"
    assert "ayllu.train.step.train_step" in codes["pretrain"].parts
    assert {"torch", "tokenizers"} <= set(codes["pretrain"].libraries)
    for name, code in codes.items():
        rooms = {part.split(".")[1] for part in code.parts if part.count(".") > 1}
        assert not rooms & {"fleet", "serve", "cli", "lab"}, name
    assert not any(part.startswith("ayllu.evals") for part in codes["pretrain"].parts)
    assert not any(part.startswith("ayllu.train") for part in codes["corpus"].parts)


def test_the_method_that_an_argument_names_counts_and_the_others_do_not() -> None:
    from ayllu.recipes.stages.artifacts import Weights
    from ayllu.recipes.stages.dataset import build_dataset
    from ayllu.recipes.stages.posttrain import plan_posttraining, posttrain

    @stage(identity="test.start", makes=Weights)
    def start(ctx: object) -> None: ...

    base = start()
    data = build_dataset(base, seed=0, groups=60, chats=None, preferences=None)
    plan = plan_posttraining(base, data, budget=1, seed=0, steps=(1, 1, 1), items=10)
    codes = {
        name: code_of(posttrain(base, data, plan, method=name, seed=0, lr=1e-3, rank=4, adopted=base)).parts
        for name in ("sft", "grpo")
    }
    assert any(part.startswith("ayllu.train.objectives.grpo") for part in codes["grpo"])
    assert not any(part.startswith("ayllu.train.objectives.grpo") for part in codes["sft"])


def test_a_copy_of_the_sources_elsewhere_is_the_same_code(package: Package, tmp_path: Path) -> None:
    before = package.code()
    shutil.rmtree(package.root / "__pycache__", ignore_errors=True)
    assert package.code().digest == before.digest
    assert Code.read(before.as_json()).digest == before.digest


SESSION = """
import linecache, sys

def cell(number, text):  # as notebooks run cells: their texts are kept, and no file is
    name = f"<cell {number}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), vars(sys.modules["__main__"]))

cell(1, "from ayllu.lab.graph import stage\\nfrom ayllu.lab.code.reached import reached\\nLIMIT = 3\\n")
cell(2, "def helper(x):\\n    return x + LIMIT\\n")
cell(3, "@stage(identity='session.count')\\ndef count(ctx):\\n    helper(1)\\n")
before = reached(count.work)
cell(4, "def helper(x):\\n    return x + LIMIT + 1\\n")
print(reached(count.work).changed(before))
cell(5, "LIMIT = 4\\n")
print(reached(count.work).changed(before))
cell(6, "@stage(identity='session.count')\\ndef count(ctx):\\n    helper(2)\\n")
print(reached(count.work).changed(before))
"""


def test_what_is_typed_in_a_notebook_counts_too() -> None:
    done = subprocess.run([sys.executable, "-c", SESSION], capture_output=True, text=True)
    helper, limit, count = "'__main__.helper'", "'__main__.LIMIT'", "'__main__.count'"
    expected = [f"[{helper}]", f"[{limit}, {helper}]", f"[{limit}, {count}, {helper}]"]
    assert done.stdout.splitlines() == expected, done.stderr
