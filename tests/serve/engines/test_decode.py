"""Text must come out whole: no half characters, no lost ones, nothing from behind a stop string."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ayllu.serve.engines.decode import StopScanner, Utf8Decoder
from ayllu.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.learn(["The llama walks. Grüße! дорогой 你好 🦙🏔️"] * 20, 600)


def streamed(ids: list[int]) -> list[str]:
    decoder = Utf8Decoder(TOKENIZER)
    return [decoder.push(i) for i in ids] + [decoder.flush()]


@given(st.text(max_size=60))
def test_text_comes_back_in_whole_characters(text: str) -> None:
    pieces = streamed(TOKENIZER.encode(text))
    assert "".join(pieces) == TOKENIZER.decode(TOKENIZER.encode(text))
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, TOKENIZER.size - 1), max_size=40))
def test_any_ids_give_the_text_that_decoding_them_at_once_gives(ids: list[int]) -> None:
    assert "".join(streamed(ids)) == TOKENIZER.decode(ids)


def test_no_more_than_one_character_is_held_back() -> None:
    broken = TOKENIZER.encode("🦙")[:1] * 200
    decoder = Utf8Decoder(TOKENIZER)
    shown = "".join(decoder.push(i) for i in broken)
    assert len(shown) >= len(broken) - 1


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_stop_string_ends_the_text_wherever_it_is_cut(text: str, stops: list[str], data: st.DataObject) -> None:
    scanner, shown, rest, stopped = StopScanner(stops), "", text, False
    while rest and not stopped:
        cut = data.draw(st.integers(1, len(rest)))
        piece, stopped = scanner.push(rest[:cut])
        rest, shown = rest[cut:], shown + piece
    if not stopped:
        shown += scanner.flush()
    # A stop string counts from where it is complete: of "ab" and "b" in "ab", "ab" begins first.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert stopped == bool(ends)
    if not ends:
        assert shown == text
    else:
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
        assert len(shown) < max(ends)
