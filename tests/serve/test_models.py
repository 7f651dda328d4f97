"""Several models behind one server: loaded when asked for, unloaded by memory, replaced without a cut answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from ayllu.lab.channel import promote
from ayllu.lab.error import UserError
from ayllu.lab.store import Store
from ayllu.serve import served as served_module
from ayllu.serve.about import describe
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.queue import EngineQueue
from ayllu.serve.served import Models, Served
from ayllu.serve.source import FolderSource
from support.models import TINY, save_tiny_model
from support.serving.server import Watched, serving_models

HELLO: Any = [{"role": "user", "content": "Hello"}]


class Fake:
    """A source that hands out the real engine under a name of its own, and counts how often it is loaded."""

    def __init__(
        self,
        folder: Path,
        engine: TorchEngine,
        name: str,
        *,
        size: int = 1,
        hold: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.about = describe(folder, context=engine.context, parameters=engine.parameters, name=name)
        self.bytes = size
        self.engine = Watched(engine, hold_after=hold, seconds=seconds)
        self.loads, self.closes = 0, 0
        self.may_load = threading.Event()
        self.may_load.set()
        self.newer: Fake | None = None
        self.fails = False

    def begin(self) -> None:
        pass

    def give_up(self) -> None:
        pass

    def load(self) -> Served:
        assert self.may_load.wait(30)
        if self.fails:
            raise UserError("there is no such file")
        self.loads += 1
        engine = Watched(self.engine, hold_after=self.engine.hold_after, seconds=self.engine.seconds)
        self.engine = engine
        engine.close = self.closed  # type: ignore[method-assign]
        return Served(EngineQueue(engine), self.about)

    def closed(self) -> None:
        self.closes += 1

    def moved(self) -> Fake | None:
        newer, self.newer = self.newer, None
        return newer

    def revoked(self) -> str | None:
        return None


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_module, "GRACE", 0.05)
    monkeypatch.setattr(served_module, "PATIENCE", 0.2)


def ask(address: str, model: str, **options: Any) -> Any:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(model=model, messages=HELLO, **{"max_tokens": 3, "seed": 1, **options})


def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


def test_a_model_is_loaded_when_it_is_asked_for_and_others_do_not_wait(folder: Path, engine: TorchEngine) -> None:
    first, second = Fake(folder, engine, "first"), Fake(folder, engine, "second")
    second.may_load.clear()
    with serving_models(Models(first, second)) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
        assert [model.id for model in client.models.list()] == ["first", "second"]
        assert (first.loads, second.loads) == (1, 0)
        answers: list[Any] = []
        waiting = [threading.Thread(target=lambda: answers.append(ask(address, "second"))) for _ in range(3)]
        for thread in waiting:
            thread.start()
        assert ask(address, "first").model == "first"
        assert answers == []
        second.may_load.set()
        for thread in waiting:
            thread.join(30)
        assert [answer.model for answer in answers] == ["second"] * 3
        assert second.loads == 1
        with pytest.raises(openai.NotFoundError, match="'first' or 'second'"):
            ask(address, "third")


def test_the_one_not_used_for_longest_makes_room(folder: Path, engine: TorchEngine) -> None:
    models = [Fake(folder, engine, name, size=40) for name in ("a", "b", "c")]
    with serving_models(Models(*models, memory=100)) as address:
        for name in ("a", "b", "a", "c"):
            ask(address, name)
        assert [model.loads for model in models] == [1, 1, 1]
        assert [model.closes for model in models] == [0, 1, 0]
        ask(address, "b")
        assert [model.closes for model in models] == [1, 1, 0]
        assert ask(address, "a").choices[0].message.content == ask(address, "a").choices[0].message.content
        assert models[0].loads == 2


def test_whoever_is_being_answered_is_answered_to_the_end(folder: Path, engine: TorchEngine) -> None:
    held, other = Fake(folder, engine, "held", size=60, hold=2), Fake(folder, engine, "other", size=60)
    with serving_models(Models(held, other, memory=100)) as address:
        stream = ask(address, "held", stream=True, max_tokens=50)
        next(iter(stream))
        done = threading.Event()
        threading.Thread(target=lambda: (ask(address, "other"), done.set())).start()
        assert not done.wait(0.5)  # there is no room while the first is at work
        assert held.closes == other.loads == 0
        stream.close()
        assert done.wait(30)
        assert (held.closes, other.loads) == (1, 1)


def test_what_cannot_be_loaded_is_an_error_and_the_next_try_loads_it(folder: Path, engine: TorchEngine) -> None:
    first, bad, large = Fake(folder, engine, "a"), Fake(folder, engine, "b"), Fake(folder, engine, "c", size=200)
    bad.fails = True
    with serving_models(Models(first, bad, large, memory=100)) as address:
        for name in ("b", "c"):
            with pytest.raises(openai.InternalServerError, match="cannot be loaded"):
                ask(address, name)
        bad.fails = False
        assert ask(address, "b").model == "b"


def test_two_models_of_one_name_are_one_too_many(folder: Path, engine: TorchEngine) -> None:
    with pytest.raises(UserError, match="called 'a'"):
        Models(Fake(folder, engine, "a"), Fake(folder, engine, "a"))


def test_a_name_that_moves_drops_no_stream(folder: Path, engine: TorchEngine) -> None:
    old, new = Fake(folder, engine, "assistant", seconds=0.03), Fake(folder, engine, "assistant")
    models = Models(old)
    with serving_models(models, every_second=models.look) as address:
        stream = iter(ask(address, "assistant", stream=True, max_tokens=100))
        chunks = [next(stream)]
        old.newer = new
        until(lambda: new.loads)
        ask(address, "assistant")
        assert new.engine.computed > 0
        assert old.closes == 0
        chunks += list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
        assert old.engine.computed >= 100
        until(lambda: old.closes)


def store_model(store: Store, name: str, key: str, folder: Path, seed: int) -> None:
    with store.work("weights", key) as place:
        save_tiny_model(place, replace(TINY, context=TINY.context + seed))
        made = store.finish(
            place, {"stage": "weights", "key": key, "record": {}, "finished": "2026-11-28T00:00:00", "seconds": 1}
        )
    promote(store, name, made)


@contextmanager
def a_channel(tmp_path: Path) -> Iterator[tuple[Store, FolderSource]]:
    store = Store(tmp_path)
    store_model(store, "assistant@stable", "a" * 64, tmp_path, 0)
    yield store, FolderSource("assistant@stable", home=tmp_path, engine="torch")


def test_a_channel_of_a_home_is_followed(tmp_path: Path) -> None:
    with a_channel(tmp_path) as (store, source):
        assert "assistant@stable" in (source.about.name, *source.about.aliases)
        assert source.moved() is None
        store_model(store, "assistant@stable", "b" * 64, tmp_path, 8)
        newer = source.moved()
        assert newer is not None
        assert newer.about.context == source.about.context + 8
        assert newer.folder != source.folder
        assert newer.moved() is None
        store_model(store, "another", "c" * 64, tmp_path, 16)
        assert newer.moved() is None
        served = newer.load()
        assert served.queue.engine.context == TINY.context + 8
        served.close()


def test_what_was_damaged_when_its_name_moved_is_served_once_it_is_good(tmp_path: Path) -> None:
    with a_channel(tmp_path) as (store, source):
        store_model(store, "assistant@stable", "b" * 64, tmp_path, 8)
        (weights,) = store.path("weights", "b" * 64).glob("*.safetensors")
        kept = weights.rename(tmp_path / "kept")
        for _ in range(2):
            with pytest.raises(UserError, match="is damaged"):
                source.moved()
        kept.rename(weights)
        newer = source.moved()
        assert newer is not None and newer.about.context == TINY.context + 8
