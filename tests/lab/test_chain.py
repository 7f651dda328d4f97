"""Chains of lines: what a kill, another process or a change of the file does to them."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayllu.lab.chain import START, Chain
from ayllu.lab.error import UserError


def linked(said: Any, before: str) -> dict[str, Any]:
    return {"said": said, "digest": hashlib.sha256(f"{before}{said!r}".encode()).hexdigest()}


def check(line: Any, before: str, number: int) -> str:
    if linked(line["said"], before)["digest"] != line["digest"]:
        raise ValueError("it was changed")
    return f"{number} {line['said']}"


def chain_at(folder: Path) -> Chain[str]:
    return Chain(path=folder / "chain.jsonl", check=check, digest=lambda line: str(line["digest"]))


def add(chain: Chain[str], said: str) -> None:
    with chain.held() as held:
        held.append(linked(said, held.last()))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.text(), min_size=1, max_size=4), left=st.floats(0, 1))
def test_what_a_kill_left_of_a_line_is_none_and_the_next_is_written(
    said: list[str], left: float, tmp_path: Path
) -> None:
    chain = chain_at(tmp_path)
    chain.path.unlink(missing_ok=True)
    for word in said:
        add(chain, word)
    whole = chain.path.read_bytes()
    add(chain, "cut short")
    added = chain.path.read_bytes()[len(whole) :]
    kept = added[: int(left * (len(added) - 1))]
    chain.path.write_bytes(whole + kept)
    before = [f"{number} {word}" for number, word in enumerate(said, start=1)]
    if len(kept) == len(added) - 1:  # only its end was missing
        before.append(f"{len(before) + 1} cut short")
    assert chain.read() == before
    add(chain, "next")
    assert chain.read() == [*before, f"{len(before) + 1} next"]


def test_what_a_block_wrote_before_it_failed_is_taken_back(tmp_path: Path) -> None:
    chain = chain_at(tmp_path)
    add(chain, "first")
    with pytest.raises(RuntimeError), chain.held() as held:
        held.append(linked("second", held.last()))
        raise RuntimeError
    assert chain.read() == ["1 first"]


def write_many(folder: Path, name: str, times: int) -> None:
    for number in range(times):
        add(chain_at(folder), f"{name} {number}")


def test_several_processes_write_while_another_rewrites_and_no_line_is_lost(tmp_path: Path) -> None:
    """Whoever waits while the file is put in the place of the one that it opened writes into the new one."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path, name, 40)) for name in "abc"]
    for writer in writers:
        writer.start()
    chain = chain_at(tmp_path)
    while any(writer.is_alive() for writer in writers):
        with chain.held() as held:
            held.rewrite(lambda line: line)
    assert all(writer.exitcode == 0 for writer in writers)
    said = [line.split(" ", 1)[1] for line in chain.read()]
    assert sorted(said) == sorted(f"{name} {number}" for name in "abc" for number in range(40))


def test_what_a_kill_left_of_a_rewriting_is_gone_after_the_next(tmp_path: Path) -> None:
    chain = chain_at(tmp_path)
    with chain.held() as held:
        held.append({**linked("first", held.last()), "secret": "plant"})
    (draft := tmp_path / "chain.jsonl.partial").write_bytes(chain.path.read_bytes())
    with chain.held() as held:
        held.rewrite(lambda line: {name: line[name] for name in ("said", "digest")})
    assert not draft.exists() and "plant" not in "".join(path.read_text() for path in tmp_path.iterdir())
    assert chain.read() == ["1 first"]


def test_a_line_longer_than_a_block_is_followed(tmp_path: Path) -> None:
    chain = chain_at(tmp_path)
    assert chain.read() == []
    add(chain, "long" * 50_000)
    add(chain, "short")
    assert [line[:6] for line in chain.read()] == ["1 long", "2 shor"]


def test_bytes_that_are_no_text_are_a_line_that_was_changed(tmp_path: Path) -> None:
    chain = chain_at(tmp_path)
    add(chain, "first")
    add(chain, "second")
    chain.path.write_bytes(chain.path.read_bytes().replace(b"first", b"f\xffrst"))
    with pytest.raises(UserError, match=r"is not as it was written: line 1: it was changed"):
        chain.read()


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    chain = chain_at(tmp_path)
    chain.path.mkdir()
    with pytest.raises(UserError, match=r"chain.jsonl cannot be read"):
        chain.read()
    assert START == "0" * 64
