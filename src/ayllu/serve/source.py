"""Where a model is loaded from: a folder, or what a name points to now, which may be another release tomorrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.lab.channel import find_model
from ayllu.release.trust.revoked import refuse_revoked, why_revoked
from ayllu.serve.about import About, describe
from ayllu.serve.engines.engine import LONGEST_CONTEXT, load_shape, load_tokenizer_and_config
from ayllu.serve.engines.process.supervised import StartingEngine

if TYPE_CHECKING:
    from ayllu.serve.served import Served


class FolderSource:
    """A folder of weights; with a `name` in a `home`, the folder that the name points to, however it moves.

    `first` is the one that is loaded at once.
    Raises UserError where there is no such model, or it may not be served.
    """

    def __init__(
        self,
        given: str | Path,
        *,
        home: Path | None = None,
        name: str | None = None,
        aliases: Sequence[str] = (),
        engine: str = "auto",
        bits: int | None = None,
        cache_bits: int | None = None,
        adapters: Mapping[str, Path] | None = None,
        first: bool = False,
    ) -> None:
        self._home, self._given = home, str(given)
        self._engine, self._bits, self._cache_bits = engine, bits, cache_bits
        self._name, self._aliases = name, tuple(aliases)
        self._adapters = dict(adapters or {})
        self.folder = Path(given) if home is None else find_model(str(given), home)
        self._starting: StartingEngine | None = None
        self._seen = self._mark()
        if home is not None and self.folder != Path(given).expanduser():
            self._aliases = (*self._aliases, str(given))
        refuse_revoked(self.folder)
        # A tokenizer takes a while, and the model that is loaded first says itself what is wrong with it.
        config = load_shape(self.folder) if first else load_tokenizer_and_config(self.folder)[1]
        if self._adapters:
            from ayllu.serve.engines.adapters import read_adapters  # which needs torch

            read_adapters(self._adapters, config)  # so that what cannot be served is said now
        context = min(config.context, LONGEST_CONTEXT)
        self.about = self._describe(context, config.parameters)
        sizes = (sum(file.stat().st_size for file in self.folder.glob(f"*.{kind}")) for kind in ("safetensors", "gguf"))
        self.bytes = max(sizes)

    def begin(self) -> None:
        if self._starting is None:
            self._starting = StartingEngine(
                self.folder, self._engine, bits=self._bits, cache_bits=self._cache_bits, adapters=self._adapters
            )

    def give_up(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.stop()

    def load(self) -> Served:
        """Load it into an engine."""
        from ayllu.serve.queue import EngineQueue  # these take a while to import, in which the engine may load
        from ayllu.serve.served import Served

        self.begin()
        starting, self._starting = self._starting, None
        assert starting is not None
        engine = starting.wait()
        return Served(EngineQueue(engine), self._describe(engine.context, engine.parameters))

    def moved(self) -> FolderSource | None:
        """The folder that the name points to by now, if that is another one."""
        mark = self._mark()
        if self._home is None or mark == self._seen:
            return None
        folder = find_model(self._given, self._home)  # what is damaged may be made good, which moves no name
        self._seen = mark
        if folder == self.folder:
            return None
        return FolderSource(
            self._given,
            home=self._home,
            name=self._name,
            engine=self._engine,
            bits=self._bits,
            cache_bits=self._cache_bits,
            adapters=self._adapters,
        )

    def revoked(self) -> str | None:
        """Why it may not be served any more."""
        return why_revoked(self.folder)

    def _describe(self, context: int, parameters: int) -> About:
        about = describe(self.folder, context=context, parameters=parameters, name=self._name, aliases=self._aliases)
        return replace(about, adapters=tuple(self._adapters))

    def _mark(self) -> tuple[int, int] | None:
        """What changes when the name is made to point elsewhere."""
        if self._home is None:
            return None
        try:
            seen = (self._home / "channels" / f"{self._given}.json").stat()
        except (OSError, ValueError):
            return None
        return seen.st_ino, seen.st_mtime_ns
