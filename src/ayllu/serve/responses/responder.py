"""From a body to a response under way: what was said before, the prompt, and the runs of this server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ayllu.serve.errors import ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.responses.body import FunctionTool, InputBody, ResponseBody, is_id
from ayllu.serve.responses.hosted.answer import MOST_CALLS, HostedAnswer
from ayllu.serve.responses.hosted.mcp import McpOffer, McpTool
from ayllu.serve.responses.hosted.tools import HostedTools, Toolbox, refused
from ayllu.serve.responses.items import kept_item, messages_of, new_id
from ayllu.serve.responses.resource import ended, failure, resource
from ayllu.serve.responses.run import NoAnswer, ResponseJob, ResponseRun
from ayllu.serve.served import Models, Served
from ayllu.serve.state.items import Item, Missing
from ayllu.serve.state.keeper import NOTHING_KEPT, Keeper
from ayllu.serve.state.store import KeptResponse, Locked
from ayllu.serve.turn.answer import Answer
from ayllu.serve.turn.asked import Turn
from ayllu.serve.turn.count import count_tokens
from ayllu.serve.turn.drawn import told_tokens
from ayllu.serve.turn.generation import generation_request
from ayllu.serve.turn.prepare import Prepared, prepare

Past = tuple[Sequence[Item], int]
"""What was said before a response, and how far its conversation had come."""


class Responder:
    """The responses that this server computes."""

    def __init__(self, models: Models, limits: Limits, keeper: Keeper) -> None:
        self.keeper, self._models, self._limits = keeper, models, limits
        self.runs: dict[str, ResponseRun] = {}
        self.hosted: HostedTools | None = None
        """What runs tools on this server; without it they are refused."""

    @contextlib.asynccontextmanager
    async def living(self, _: object = None) -> AsyncGenerator[None]:
        """While the server lives: take over what others left; at the end leave what is under way to others."""
        watching = asyncio.create_task(self.keeper.watch(lambda: list(self.runs), self._stop, self._take_over))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(*(run.abandon() for run in list(self.runs.values())), return_exceptions=True)
            await self.keeper.leave()
            self.keeper.close()
            if self.hosted is not None:
                self.hosted.close()

    async def begin(
        self, body: ResponseBody, *, client: str, owner: str, known: Sequence[Item] | None = None, generate: bool = True
    ) -> ResponseRun:
        """Start what `body` asks for; ApiError for what cannot be done.

        `known` is the past where the caller has it. Without `generate` the prompt is made and nothing computed.
        """
        stored = self.keeper.keeps and body.store is not False
        if not self.keeper.keeps and (body.store or body.background):
            param = "background" if body.background else "store"
            raise ApiError(400, f"{param}: {NOTHING_KEPT}; leave it out", param=param)
        given = await self.given(body, owner)
        past = (known, 0) if known is not None else await self.past(body, owner)
        job = await self._job(body, given, past, client=client, stored=stored, owner=owner)
        if not generate:
            job = replace(job, answer=NoAnswer(job.answer.prompt_tokens))
        run = ResponseRun(job, self.keeper)
        try:
            await run.begin()
        except Missing as error:
            raise no_conversation(error.name) from None
        except Locked:
            words = "another response of this conversation is being computed; try again in a few seconds"
            raise ApiError(409, words, param="conversation", code="conversation_locked") from None
        self._add(run)
        return run

    async def given(self, body: InputBody, owner: str) -> list[Item]:
        """The items of a body, those that it refers to in their place."""
        items = [kept_item(item) for item in body.input or ()]
        for number, item in enumerate(items):
            if item["type"] == "item_reference":
                store = self.keeper.store("input")
                found = await self.keeper.run(store.item, item["id"], owner=owner)
                if found is None:
                    raise ApiError(404, f"item with id '{item['id']}' not found", param=f"input.{number}.id")
                items[number] = found
        return items

    async def past(self, body: InputBody, owner: str, *, until: int | None = None) -> Past:
        """What was said before; ApiError where that is not there."""
        if body.previous_response_id is not None:
            name, store = body.previous_response_id, self.keeper.store("previous_response_id")
            try:
                return await self.keeper.run(store.context, name, owner=owner), 0
            except Missing as error:
                words = f"previous response with id '{error.name}' not found"
                raise ApiError(400, words, param="previous_response_id", code="previous_response_not_found") from None
        if body.conversation is not None:
            name, store = body.conversation.id, self.keeper.store("conversation")
            try:
                items, place = await self.keeper.run(store.conversation_items, name, owner=owner, until=until)
            except Missing:
                raise no_conversation(name) from None
            return items, place
        return [], 0

    async def counted(self, served: Served, body: InputBody, past: Past, given: Sequence[Item], owner: str) -> int:
        """How many tokens the prompt of a body has, whether it fits or not."""
        toolbox = await self._toolbox(body, past, given, owner) if _names_servers(body) else None
        turn = _turn(body, past, given, toolbox.mcp if toolbox is not None else McpOffer())
        with _our_names():
            return await served.prepare(lambda asked: count_tokens(served, asked), turn)

    async def _toolbox(self, body: InputBody, past: Past, given: Sequence[Item], owner: str) -> Toolbox | None:
        """What runs the hosted tools of a body, None where it names none; ApiError where they cannot be run."""
        hosted = body.hosted()
        if not hosted:
            return None
        if self.hosted is None:
            raise refused(hosted[0])
        functions = [tool.name for tool in body.tools if isinstance(tool, FunctionTool)]
        return await self.hosted.toolbox(hosted, owner=owner, past=[*past[0], *given], functions=functions)

    async def _prepared(
        self, served: Served, body: ResponseBody, past: Past, given: Sequence[Item], mcp: McpOffer
    ) -> Prepared:
        """The prompt of a body; ApiError where it does not fit or something in it cannot be done."""
        turn, most, trim = _turn(body, past, given, mcp), body.max_output_tokens, body.truncation == "auto"
        with _our_names():
            return await served.prepare(lambda asked: prepare(served, asked, max_tokens=most, trim=trim), turn)

    async def resource(self, name: str, owner: str) -> dict[str, Any]:
        """A response by its id; ApiError where there is none."""
        run = self.runs.get(name)
        if run is not None and run.kept.owner == owner:
            return run.resource
        found = None
        if is_id(name) and self.keeper.keeps:
            found = await self.keeper.run(self.keeper.store().response, name, owner=owner)
        if found is None:
            raise no_response(name)
        kept, output = found
        return {**kept.body, "status": kept.status, "output": output}

    async def cancel(self, name: str, owner: str) -> dict[str, Any]:
        """Cancel a response that runs in the background; ApiError where it is another or none."""
        body = await self.resource(name, owner)
        if not body["background"]:
            raise ApiError(400, "only a response with background=true can be cancelled; end the connection instead")
        if body["status"] in ("queued", "in_progress"):
            if (run := self.runs.get(name)) is not None:
                run.cancel()
                await run.wait()
                return run.resource
            await self.keeper.run(self.keeper.store().cancel, name)
        return await self.resource(name, owner)

    async def delete(self, name: str, owner: str) -> None:
        """Forget a response, and stop it where it is under way; ApiError where there is none."""
        await self.resource(name, owner)
        if (run := self.runs.get(name)) is not None:
            run.cancel()
            await run.wait()
        await self.keeper.run(self.keeper.store().delete, name)

    async def _job(
        self,
        body: ResponseBody,
        given: list[Item],
        past: Past,
        *,
        client: str,
        stored: bool,
        owner: str,
        name: str | None = None,
        created: int | None = None,
    ) -> ResponseJob:
        served = await self._models.find(body.model)
        queue = served.queue
        served.check_room(client)
        # What servers offer is in the prompt; a container is made for no prompt that is refused.
        toolbox = await self._toolbox(body, past, given, owner) if _names_servers(body) else None
        mcp = toolbox.mcp if toolbox is not None else McpOffer()
        prepared = await self._prepared(served, body, past, given, mcp)
        toolbox = toolbox or await self._toolbox(body, past, given, owner)
        sampling = body.sampling(served.about.sampling)
        request = generation_request(
            served, prepared, sampling=sampling, most=body.max_output_tokens, logprobs=body.logprobs()
        )
        seconds = self._limits.answer_seconds
        first = Answer(queue, request, prepared.reader(), client=client, seconds=seconds)
        answer: Answer | HostedAnswer = first
        if toolbox is not None:
            names = frozenset(tool.name for tool in [*body.hosted(), *mcp.tools])

            async def again(said: Sequence[Item]) -> Answer:
                # What had to be called was called: from now on the model may.
                free = body.model_copy(update={"tool_choice": "auto"})
                prepared = await self._prepared(served, free, past, [*given, *said], mcp)
                request = generation_request(
                    served, prepared, sampling=sampling, most=body.max_output_tokens, logprobs=body.logprobs()
                )
                return Answer(queue, request, prepared.reader(), client=client, seconds=seconds)

            most = body.max_tool_calls or MOST_CALLS
            answer = HostedAnswer(first, toolbox, names, again, most=most)
        name, created = name or new_id("resp"), created or int(time.time())
        shown = resource(body, name=name, model=served.about.name, created=created, stored=stored, sampling=sampling)
        kept = KeptResponse(
            id=name,
            owner=owner,
            created=created,
            status=shown["status"],
            background=bool(body.background),
            previous=body.previous_response_id,
            conversation=body.conversation.id if body.conversation is not None else None,
            conversation_place=past[1],
            request=body.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"input"})
            if stored
            else {},
            body=shown,
        )
        options = body.stream_options
        return ResponseJob(
            kept=kept,
            past=past[0],
            given=given,
            answer=answer,
            obfuscate=bool(options and options.include_obfuscation),
            stored=stored,
            streamed=bool(body.background and body.stream),
            told=partial(told_tokens, queue.engine.tokenizer, shown=prepared.shown)
            if body.logprobs() is not None
            else None,
        )

    def _add(self, run: ResponseRun) -> None:
        self.runs[run.kept.id] = run
        run.when_done(lambda: self.runs.pop(run.kept.id, None))

    def _stop(self, name: str) -> None:
        if (run := self.runs.get(name)) is not None:
            run.cancel()

    async def _take_over(self, kept: KeptResponse, given: list[Item]) -> None:
        """Compute again what another server was computing."""
        body = ResponseBody.model_construct()
        try:
            body = ResponseBody.model_validate({"input": given, **kept.request})
            if _names_servers(body):  # whose calls may have been made, and whose tokens are not kept
                raise ApiError(503, "the server ended while tools of MCP servers may have been running; ask again")
            past = await self.past(body, kept.owner, until=kept.conversation_place)
            job = await self._job(
                body,
                given,
                past,
                client=kept.owner,
                stored=True,
                owner=kept.owner,
                name=kept.id,
                created=kept.created,
            )
        except (ApiError, ValueError) as error:
            words = error.message if isinstance(error, ApiError) else "this server does not understand the request"
            failed = ended(kept.body, "failed", error=failure(words))
            done = KeptResponse(id=kept.id, created=kept.created, status="failed", body=failed)
            await self.keeper.run(self.keeper.store().finish, done, [])
            return
        run = ResponseRun(job, self.keeper)
        run.start()
        self._add(run)


def _names_servers(body: InputBody) -> bool:
    return any(isinstance(tool, McpTool) for tool in body.tools)


def _turn(body: InputBody, past: Past, given: Sequence[Item], mcp: McpOffer) -> Turn:
    """What is asked, in our words; ApiError where it cannot be."""
    try:
        return Turn(
            messages=messages_of([*past[0], *given], body.instructions),
            tools=body.offered(mcp),
            strict=body.strict_tools(),
            choice=body.choice(mcp),
            parallel=body.parallel_tool_calls is not False,
            shape=body.shape(),
        )
    except ValueError as error:
        raise ApiError(400, f"tool_choice: {error}", param="tool_choice") from None


@contextlib.contextmanager
def _our_names() -> Iterator[None]:
    """The same parts of a body have other names in the API that errors are worded for."""
    try:
        yield
    except ApiError as error:
        error.param = {"messages": "input", "response_format": "text.format"}.get(error.param or "", error.param)
        error.message = error.message.replace("response_format", "text.format")
        raise


def no_response(name: str) -> ApiError:
    """There is no such response."""
    return ApiError(404, f"response with id '{name[:200]}' not found", code="not_found")


def no_conversation(name: str) -> ApiError:
    """There is no such conversation."""
    return ApiError(404, f"conversation with id '{name[:200]}' not found", param="conversation", code="not_found")
