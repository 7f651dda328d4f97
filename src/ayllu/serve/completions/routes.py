"""`POST /v1/chat/completions` and `POST /v1/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ayllu.serve.completions.answer import answer_stream, answer_whole
from ayllu.serve.completions.body import Body, ChatBody, TextBody, seeds
from ayllu.serve.completions.generation import Generation
from ayllu.serve.completions.layout import ChatLayout, Echo, Layout, TextLayout
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.errors import ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models, Served
from ayllu.serve.turn.answer import Answer, NoAnswer
from ayllu.serve.turn.filtered import check_asked
from ayllu.serve.turn.prepare import prepare
from ayllu.serve.turn.reader import Reader

COMPLETION_TOKENS = 16
"""Default length of a text completion, as in OpenAI's API."""
DROPPED = "X-Dropped-Messages"
"""Header that counts the messages left out of a conversation that was too long."""


class Completions:
    """Both routes, and what they share."""

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models, self._limits = models, limits

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/v1/chat/completions", self.chat, methods=["POST"])
        app.add_endpoint("/v1/completions", self.text, methods=["POST"])

    async def chat(self, body: ChatBody, http: Request) -> Response:
        """Continue a conversation."""
        served = await self._models.find(body.model)
        _check_room(served, body, http)
        most, logprobs, trim = body.answer_tokens(), body.logprob_count(), body.truncation != "disabled"
        ready = await served.prepare(lambda turn: prepare(served, turn, max_tokens=most, trim=trim), body.turn())
        request = _generation_request(served, body, ready.prompt, most)
        request = replace(request, grammar=ready.grammar, shown=ready.shown, logprobs=logprobs)
        answers = [
            self._answer(served, one, ready.reader(), body, http) for one in _several(served, request, body.n or 1)
        ]
        layout = ChatLayout(
            served.about.name,
            served.queue.engine.tokenizer,
            logprobs=bool(body.logprobs),
            legacy=body.legacy,
            shown=ready.shown,
        )
        headers = {DROPPED: str(ready.dropped)} if ready.dropped else {}
        n = len(answers)
        generation = Generation(answers, each=n, together=served.queue.engine.parallel)
        return await _respond(layout, generation, body, http, best=n, headers=headers)

    async def text(self, body: TextBody, http: Request) -> Response:
        """Continue texts."""
        served = await self._models.find(body.model)
        _check_room(served, body, http)
        n, best_of = body.counts()
        grammar = await _grammar(served, body)
        prompts = [await served.prepare(served.encode, prompt) for prompt in body.prompt]
        if served.queue.guard is not None:
            for prompt in prompts:
                text = served.queue.engine.tokenizer.decode(prompt)
                await served.prepare(lambda asked: check_asked(served, asked, "prompt"), text)
        most = COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
        # The best of several are found by their log-probabilities, which then are told to nobody.
        logprobs = 0 if body.logprobs is None and best_of > n else body.logprobs
        echoed = bool(body.echo) and body.logprobs is not None
        answers: list[Answer] = []
        for prompt in prompts:
            request = _generation_request(served, body, prompt, most)
            request = replace(request, grammar=grammar, logprobs=logprobs, prompt_logprobs=echoed)
            for one in _several(served, request, best_of):
                answers.append(self._answer(served, one, Reader(offered=()), body, http, nothing=most == 0))
        tokenizer = served.queue.engine.tokenizer
        echo: list[Echo] = []
        if body.echo:
            given: Sequence[str | list[int]] = body.prompt
            echo = [Echo.of(one, ids, tokenizer) for one, ids in zip(given, prompts, strict=True)]
        layout = TextLayout(served.about.name, tokenizer, logprobs=body.logprobs is not None, echo=echo, each=best_of)
        generation = Generation(answers, each=best_of, together=served.queue.engine.parallel)
        return await _respond(layout, generation, body, http, best=n, headers={})

    def _answer(
        self,
        served: Served,
        request: GenerationRequest,
        reader: Reader,
        body: Body,
        http: Request,
        *,
        nothing: bool = False,
    ) -> Answer:
        kind = NoAnswer if nothing else Answer
        return kind(served.queue, request, reader, client=_client(body, http), seconds=self._limits.answer_seconds)


async def _grammar(served: Served, body: TextBody) -> str | None:
    if (shape := body.shape()) is None:
        return None
    from ayllu.serve.turn.grammar import shape_grammar  # which imports llguidance: not for plain words

    return await served.prepare(shape_grammar, shape)


async def _respond(
    layout: Layout, generation: Generation, body: Body, http: Request, *, best: int, headers: dict[str, str]
) -> Response:
    if body.stream:
        events = answer_stream(layout, generation, usage=body.with_usage())
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    return JSONResponse(await answer_whole(layout, generation, http, best=best), headers=headers)


def _generation_request(served: Served, body: Body, prompt: list[int], most: int | None) -> GenerationRequest:
    engine = served.queue.engine
    room = engine.context - len(prompt)
    return GenerationRequest(
        prompt=prompt,
        max_tokens=max(min(room if most is None else most, room), 1),
        sampling=body.sampling(served.about.sampling, engine.tokenizer.size),
        stop=body.stop,
        adapter=served.adapter,
    )


def _several(served: Served, request: GenerationRequest, count: int) -> Sequence[GenerationRequest]:
    """The request for each of `count` choices; ApiError where the engine cannot honour it."""
    try:
        served.queue.engine.check(request)
    except ValueError as error:
        raise ApiError(400, str(error)) from error
    sampling = request.sampling
    return [replace(request, sampling=replace(sampling, seed=seed)) for seed in seeds(sampling.seed, count)]


def _check_room(served: Served, body: Body, http: Request) -> None:
    served.check_room(_client(body, http))


def _client(body: Body, http: Request) -> str:
    """Whose turn it is: that of a machine, and of a user where it says for whom it asks."""
    return f"{http.client.host if http.client else ''} {body.user or ''}"
