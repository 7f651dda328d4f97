"""The models that a server has: each an engine behind a queue, and what turns a client's words into its ids."""

from __future__ import annotations

import asyncio
import copy
import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from ayllu.lab.error import UserError
from ayllu.lab.progress import say
from ayllu.serve.about import About
from ayllu.serve.access.rates import retry_after
from ayllu.serve.access.request import CURRENT
from ayllu.serve.errors import ApiError
from ayllu.serve.history import ContextFull, FittedPrompt, fit_to_context, longest_prompt
from ayllu.serve.operations.course import Watcher
from ayllu.serve.queue import EngineQueue
from ayllu.text.calls.form import call_forms
from ayllu.text.calls.shape import CallForm
from ayllu.text.chat import NO_TEMPLATE, Message
from ayllu.text.tool_calls import Tool

if TYPE_CHECKING:
    from ayllu.safety.filter.guard import Guard

PREPARING = 2
"""Threads that make prompts of what clients sent, for each model."""
GRACE = 1.0
"""Seconds for which a model stays after it was last asked for: work behind an answer may be about to begin."""
PATIENCE = 5.0
"""Seconds for which a model that needs room waits for another to be idle, before later callers of that one wait."""
Given = TypeVar("Given")
Made = TypeVar("Made")


class Served:
    """One model: its engine behind a queue, and what is told about it."""

    def __init__(self, queue: EngineQueue, about: About) -> None:
        self.queue, self.about = queue, about
        self.adapter: str | None = None
        """The adapter that is put on the weights."""
        queue.model = about.name
        # Templates and tokenizers take seconds for a megabyte: in threads of their own, so that nobody waits for them
        # but those who sent it.
        self._preparing = ThreadPoolExecutor(PREPARING, thread_name_prefix="prepare")

        self._held = 0
        self.used = time.monotonic()
        """When it was last asked for."""

    def check_converses(self) -> None:
        """Raises UserError where the model only continues texts, before somebody has said something to it."""
        if not self.queue.engine.tokenizer.holds_conversations:
            raise UserError(NO_TEMPLATE)

    @property
    def names(self) -> tuple[str, ...]:
        """What it is asked for by."""
        return (*self.about.names, *self.about.adapters)

    @property
    def idle(self) -> bool:
        """Whether nobody is being answered, waits, or is about to ask."""
        busy = self._held or self.queue.running or self.queue.turns.waiting
        return not busy and time.monotonic() - self.used > GRACE

    def adapted(self, adapter: str) -> Served:
        """The same engine and queue, for those who ask for an adapter; it is not to be held or closed."""
        other = copy.copy(self)
        other.about, other.adapter = self.about.adapted(adapter), adapter
        return other

    def hold(self) -> None:
        """Stay loaded until the request that is being answered now has ended."""
        self.used = time.monotonic()
        context = CURRENT.get()
        if context is not None and not context.ended and context.method != "WEBSOCKET":
            self._held += 1
            context.at_end.append(self._let_go)

    async def retire(self) -> None:
        """Free the engine once all who were sent to it have been answered."""
        while not self.idle:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Free the engine; what is under way stops at the next token."""
        self.queue.close()
        self._preparing.shutdown(wait=False)

    def _let_go(self) -> None:
        self._held -= 1
        self.used = time.monotonic()

    def check_room(self, client: str) -> None:
        """Raise ApiError where one more request of `client`, or of its key, would only wait in vain."""
        if self.queue.full(client):
            seconds = retry_after(self.queue.seconds_to_wait(client))
            raise ApiError(
                429,
                f"too many of your requests are waiting; try again in {seconds} seconds",
                code="too_many_waiting",
                headers={"Retry-After": str(seconds)},
            )

    async def prepare(self, work: Callable[[Given], Made], given: Given) -> Made:
        """Do what may take long in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._preparing, work, given)

    @functools.cached_property
    def call_forms(self) -> tuple[CallForm, ...]:
        """What the model's own template writes around calls; found once, which may take long."""
        return call_forms(self.queue.engine.tokenizer)

    def fit_to_context(
        self, messages: Sequence[Message], *, tools: Sequence[Tool] = (), max_tokens: int | None, trim: bool
    ) -> FittedPrompt:
        """The ids of a conversation; ApiError where it does not fit or the model's template refuses it."""
        engine = self.queue.engine
        try:
            return fit_to_context(
                messages, engine.tokenizer, context=engine.context, tools=tools, max_tokens=max_tokens, trim=trim
            )
        except ContextFull as error:
            raise ApiError(400, str(error), param="messages", code="context_length_exceeded") from error
        except ValueError as error:
            raise ApiError(400, str(error), param="messages") from error

    def encode(self, prompt: str | list[int]) -> list[int]:
        """The ids of a text to continue, BOS before it; ids are taken as they are. ApiError for what does not fit."""
        tokenizer, context = self.queue.engine.tokenizer, self.queue.engine.context
        ids = [tokenizer.bos, *tokenizer.encode(prompt)] if isinstance(prompt, str) else prompt
        if not all(0 <= i < tokenizer.size for i in ids):
            raise ApiError(400, f"prompt: ids must be from 0 to {tokenizer.size - 1}", param="prompt")
        if not ids:
            raise ApiError(400, "prompt is empty; give some text or ids", param="prompt")
        if len(ids) >= context:
            raise ApiError(
                400,
                f"the prompt has {len(ids)} tokens, but {longest_prompt(context)}; shorten it",
                param="prompt",
                code="context_length_exceeded",
            )
        return ids


class LoadableModel(Protocol):
    """A model that can be loaded."""

    about: About
    """What is known of it before it is loaded."""
    bytes: int
    """About how much memory it takes when it is loaded."""

    def begin(self) -> None:
        """Begin to load it beside what else is done, where that can be; `load` gives it, or `give_up` ends that."""
        ...

    def give_up(self) -> None:
        """End what was begun."""
        ...

    def load(self) -> Served:
        """Load it, which may take minutes; UserError where that cannot be."""
        ...

    def moved(self) -> LoadableModel | None:
        """What is to be served in its place from now on; None while it is the newest."""
        ...

    def revoked(self) -> str | None:
        """Why it may not be served any more."""
        ...


class Slot:
    """A place of the table of models: what is loaded there, if anything, and from where it is loaded."""

    def __init__(self, given: Served | LoadableModel) -> None:
        self.loaded = given if isinstance(given, Served) else None
        self.source = None if isinstance(given, Served) else given
        self.loading: asyncio.Task[None] | None = None
        self.gone: str | None = None
        """Why it may not be served any more."""
        self.failed = ""
        """Why the newest release of it could not be loaded."""

    @property
    def about(self) -> About:
        """What is told about it."""
        if self.loaded is not None:
            return self.loaded.about
        assert self.source is not None
        return self.source.about

    @property
    def names(self) -> tuple[str, ...]:
        """What it is asked for by."""
        return (*self.about.names, *self.about.adapters)

    @property
    def bytes(self) -> int:
        """About how much memory it takes when it is loaded."""
        return 0 if self.source is None else self.source.bytes


class Models:
    """What is served, by name; the first is what those get who name none.

    A model is loaded when it is first asked for. Where all together take more than `memory` bytes, those that nobody
    has used for longest are unloaded first: whoever is being answered is answered to the end. `guard` filters what
    they are asked and say.
    """

    def __init__(self, *given: Served | LoadableModel, memory: int | None = None, guard: Guard | None = None) -> None:
        self._slots = [Slot(one) for one in given]
        self._memory, self._guard = memory, guard
        self._room = asyncio.Lock()
        """Held by who makes room and loads: one at a time."""
        self._retired: set[asyncio.Task[None]] = set()
        self._watchers: list[Watcher] = []
        self._keep_text = False
        self._looking: asyncio.Task[None] | None = None
        self.ending = False
        """Whether the server is about to end: what is under way may finish."""
        names = Counter(name for slot in self._slots for name in slot.names)
        if twice := [name for name, count in names.items() if count > 1]:
            raise UserError(f"two of the models and adapters are called {twice[0]!r}; serve one of them")

    @property
    def served(self) -> list[Served]:
        """The models that are loaded now."""
        return [slot.loaded for slot in self._slots if slot.loaded is not None]

    @property
    def abouts(self) -> list[About]:
        """What is told about all models, loaded or not."""
        return [slot.about for slot in self._slots]

    @property
    def names(self) -> list[str]:
        """All names of all models."""
        return [name for slot in self._slots for name in slot.names]

    def about(self, name: str | None) -> About:
        """What is told about the model of that name, which is not loaded for it; ApiError where there is none."""
        about = self._slot(name).about
        return about.adapted(name) if name is not None and name in about.adapters else about

    async def find(self, name: str | None) -> Served:
        """The model of that name, loaded, or the first where none is asked for.

        ApiError where there is no such model, and where it cannot be loaded. It stays loaded until the request has been
        answered that is being answered now.
        """
        slot = self._slot(name)
        while (served := slot.loaded) is None:
            if slot.loading is None:
                slot.loading = asyncio.ensure_future(self._load(slot))
            # Who leaves does not stop the loading that others wait for.
            await asyncio.shield(slot.loading)
        served.hold()
        return served.adapted(name) if name is not None and name in served.about.adapters else served

    def watch(self, watcher: Watcher, *, keep_text: bool = False) -> None:
        """Tell `watcher` of every answer; with `keep_text` also what was said."""
        self._watchers.append(watcher)
        self._keep_text = self._keep_text or keep_text
        for one in self.served:
            self._prepare(one)

    def load_first(self) -> Served:
        """Load the first model before the server begins; UserError where that cannot be."""
        slot = self._slots[0]
        if slot.loaded is None:
            assert slot.source is not None
            slot.loaded = self._prepare(slot.source.load())
        return slot.loaded

    def look(self) -> None:
        """Serve newer releases where names point to them by now; called every second, returns at once."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._follow())

    def revoked(self) -> str | None:
        """Stop serving what was taken back; gives the reason where nothing is left."""
        for slot in self._slots:
            if slot.gone is None and slot.source is not None and (reason := slot.source.revoked()):
                slot.gone = reason
                say(f"{slot.about.name} is served no more, for {reason}")
        reasons = [slot.gone for slot in self._slots]
        return reasons[0] if all(reasons) else None

    def end(self) -> None:
        """Say to load balancers that the server is about to end."""
        self.ending = True

    def close(self) -> None:
        """Free all engines."""
        for served in self.served:
            served.close()

    def _slot(self, name: str | None) -> Slot:
        if not self._slots:
            raise ApiError(404, "no model is served here", param="model", code="model_not_found")
        slot = self._slots[0] if name is None else next((one for one in self._slots if name in one.names), None)
        if slot is None:
            raise ApiError(
                404,
                f"the model {str(name)[:100]!r} is not served here; "
                f"this server has {' or '.join(map(repr, self.names))}",
                param="model",
                code="model_not_found",
            )
        if slot.gone is not None:
            raise ApiError(404, f"{slot.about.name} is served no more", param="model", code="model_not_found")
        return slot

    async def _load(self, slot: Slot) -> None:
        try:
            async with self._room:
                if slot.loaded is None and slot.source is not None:  # as it may be by now
                    await self._make_room(slot.bytes, slot)
                    slot.loaded = self._prepare(await asyncio.to_thread(slot.source.load))
        except UserError as error:
            say(f"{slot.about.name} cannot be loaded: {error}")
            raise ApiError(503, f"{slot.about.name} cannot be loaded; the server's log says why") from error
        finally:
            slot.loading = None

    async def _make_room(self, needed: int, keep: Slot) -> None:
        """Unload what is used least recently until `needed` bytes are free."""
        if self._memory is None:
            return
        if needed > self._memory:
            raise UserError(
                f"it takes about {needed / 2**30:.1f} GiB, and all models together may take {self._memory / 2**30:.1f}"
            )
        since = time.monotonic()
        while self._taken() + needed > self._memory:
            others = [slot for slot in self._slots if slot.loaded is not None and slot is not keep and slot.source]
            idle = [slot for slot in others if slot.loaded and slot.loaded.idle]
            # Where all are busy for long, one more has a turn: its callers now are answered, later ones wait.
            candidates = idle or (others if time.monotonic() - since > PATIENCE else [])
            if candidates:
                oldest = min(candidates, key=lambda slot: slot.loaded.used if slot.loaded else 0.0)
                await self._retire(oldest)
            else:
                if self._retired:
                    await asyncio.wait(self._retired, timeout=0.05)
                await asyncio.sleep(0.05)

    def _taken(self) -> int:
        return sum(slot.bytes for slot in self._slots if slot.loaded is not None)

    async def _retire(self, slot: Slot) -> None:
        """Take a model out of its slot, wait for the answers under way, and free it."""
        served, slot.loaded = slot.loaded, None
        if served is not None:
            await served.retire()

    async def _follow(self) -> None:
        for slot in self._slots:
            if slot.source is None:
                continue
            try:
                newer = await asyncio.to_thread(slot.source.moved)
                if newer is not None:
                    await self._replace(slot, newer)
            except UserError as error:
                if str(error) != slot.failed:
                    slot.failed = str(error)
                    say(f"{slot.about.name} stays as it is: {error}")

    async def _replace(self, slot: Slot, newer: LoadableModel) -> None:
        """Serve `newer` in a slot: those who are being answered by what was there are answered by it to the end."""
        if slot.loaded is None:
            slot.source = newer
        else:
            async with self._room:
                if self._memory is None or newer.bytes + slot.bytes <= self._memory:
                    await self._make_room(newer.bytes, slot)
                else:  # both do not fit: the next callers wait
                    await self._retire(slot)
                loaded = self._prepare(await asyncio.to_thread(newer.load))
                older, slot.loaded, slot.source = slot.loaded, loaded, newer
            if older is not None:
                task = asyncio.ensure_future(older.retire())
                self._retired.add(task)
                task.add_done_callback(self._retired.discard)
        say(f"{slot.about.name} is another release now: {slot.about.version or 'without a version'}")

    def _prepare(self, served: Served) -> Served:
        served.queue.watchers[:] = self._watchers
        served.queue.keep_text = self._keep_text
        served.queue.guard = self._guard
        return served
