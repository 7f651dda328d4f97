"""Keys: the same work has the same name in every process, and what has no stable form is refused."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.lab.error import UserError
from ayllu.lab.key import canonical, content_digest, key_of, stable

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    peak: float = 0.1
    steps: tuple[int, ...] = (1, 2)


@dataclass
class Mutable:
    peak: float = 0.1


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_order_of_a_dictionary_does_not_matter(arguments: dict) -> None:
    turned = dict(reversed(list(arguments.items())))
    assert key_of("stage", 1, arguments, {}) == key_of("stage", 1, turned, {})


def test_everything_that_identifies_work_changes_the_key() -> None:
    base = key_of("train", 1, {"steps": 10}, {"tokens": "aa"})
    others = [
        key_of("tune", 1, {"steps": 10}, {"tokens": "aa"}),
        key_of("train", 2, {"steps": 10}, {"tokens": "aa"}),
        key_of("train", 1, {"steps": 11}, {"tokens": "aa"}),
        key_of("train", 1, {"steps": 10}, {"tokens": "ab"}),
        key_of("train", 1, {"steps": 10, "more": None}, {"tokens": "aa"}),
    ]
    assert len({base, *others}) == 6


def test_a_key_is_the_same_in_another_process() -> None:
    program = "from ayllu.lab.key import key_of; print(key_of('a', 1, {'x': {'b': 1.5, 'a': 'ü'}}, {'i': 'd'}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert other == key_of("a", 1, {"x": {"a": "ü", "b": 1.5}}, {"i": "d"})


def test_frozen_dataclasses_have_a_stable_form() -> None:
    assert canonical({"r": Rates()}) == canonical({"r": Rates(peak=0.1)})
    assert canonical({"r": Rates()}) != canonical({"r": Rates(peak=0.2)})


@pytest.mark.parametrize("value", [float("nan"), object(), {1: 2}, {"a": {3, 4}}, Mutable(), lambda: 0, b"bytes"])
def test_what_has_no_stable_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="x"):
        key_of("stage", 1, {"x": value}, {})


def test_content_digest_sees_names_and_bytes() -> None:
    assert content_digest({"a": "1", "b": "2"}) == content_digest({"b": "2", "a": "1"})
    assert content_digest({"a": "1", "b": "2"}) != content_digest({"a": "2", "b": "1"})


@pytest.mark.parametrize("value", ["a\udcff", {"a\udcff": 1}, ["a\udcff"]])
def test_text_that_is_no_utf_8_is_said_to_whoever_typed_it(value: object) -> None:
    with pytest.raises(UserError, match=r"split: text.* is .*which is no text in UTF-8"):
        stable(value, "split: text")
