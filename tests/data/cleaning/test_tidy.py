"""Tidying: what is repaired, what is taken out, and what keeps its shape."""

import ftfy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayllu.data.cleaning.tidy import tidy


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("donâ€™t worry, itâ€™s fine", "don't worry, it's fine"),
        ("cafÃ© and rÃ©sumÃ©", "café and résumé"),
        ("“quoted” and ‘single’ — with a dash…", "\"quoted\" and 'single' — with a dash…"),
        ("a\u00a0b\u200bc\ufeffd\x07e", "a bcde"),
        ("\x1b[31mred\x1b[0m &#27;[31mred&#x1B;[0m \x9b1;31mred\x9b0m", "red red red"),
        ("one \r\n two\r\rthree\n\n\n\nfour ", "one\ntwo\n\nthree\n\nfour"),
    ],
)
def test_tidying(raw: str, clean: str) -> None:
    assert tidy(raw) == clean


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_tidied_text_has_even_spaces_and_no_control_characters(text: str) -> None:
    once = tidy(text)
    for line in once.split("\n"):
        words = line.lstrip(" \t")
        assert not any(ord(c) < 32 for c in words)
        assert "  " not in words
        assert words or not line
    assert "\n\n\n" not in once
    assert once == once.strip()


@given(st.text(st.sampled_from("ab ’“”‘–—…\n"), max_size=40))
def test_the_short_way_past_ftfy_gives_what_ftfy_gives(text: str) -> None:
    assert tidy(text) == tidy(ftfy.fix_text(text))


CODE = """# Loops

Look:

```python
def total(numbers):
    found = 0
    for number in numbers:
        if number > 0:
            found += number

    return found
```

- one
  - two
"""


def test_indentation_is_kept_where_it_is_structure() -> None:
    assert tidy(CODE) == CODE.strip()
    compile(tidy(CODE).split("```python")[1].split("```")[0], "block", "exec")
    assert tidy(CODE.replace("    ", "\t")) == CODE.replace("    ", "\t").strip(), "tabs are indentation too"
    assert tidy("    a = 1\n    if a:\n        b = 2\n") == "a = 1\nif a:\n    b = 2"
    assert tidy('{\n "a": {\n  "b": 1\n }\n}') == '{\n "a": {\n  "b": 1\n }\n}'
    assert tidy("caf\u00e9:\n    - a   b\n") == "caf\u00e9:\n    - a b"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("city.\x0cChapter", "city.\nChapter"),
        ("one\x0btwo", "one\ntwo"),
        ("one\u2028two\u2029three", "one\ntwo\nthree"),
        ("one\x1ctwo\x1dthree\x1efour", "one\ntwo\nthree\nfour"),
    ],
)
def test_whatever_breaks_a_line_or_page_keeps_words_apart(raw: str, clean: str) -> None:
    assert tidy(raw) == clean


@pytest.mark.parametrize("word", ["cafe", "café", "naïve – “so”"])
def test_entities_are_decoded_whatever_else_a_text_holds(word: str) -> None:
    assert tidy(f"{word} &amp; milk &#233; &quot;fresh&quot;").endswith('& milk é "fresh"')
    assert tidy(f"{word} AT&T, a && b; R&D") == tidy(word) + " AT&T, a && b; R&D"


@pytest.mark.parametrize(
    "escape",
    ["\x1b[31m", "\x1b[0;1;31m", "\x1b[?25h", "\x1b[2K", "\x1b]0;title\x07", "\x1b]8;;x\x1b\\", "\x1b(B", "\x1bM"],
)
@pytest.mark.parametrize("word", ["red", "röt"])
def test_terminal_escapes_leave_nothing(escape: str, word: str) -> None:
    assert tidy(f"a {escape}{word} light") == f"a {word} light"
