"""A prepared turn as a request to the engine."""

from __future__ import annotations

from ayllu.model.sampling import Sampling
from ayllu.serve.engines.engine import GenerationRequest
from ayllu.serve.errors import ApiError
from ayllu.serve.served import Served
from ayllu.serve.turn.prepare import Prepared


def generation_request(
    served: Served, prepared: Prepared, *, sampling: Sampling, most: int | None, logprobs: int | None = None
) -> GenerationRequest:
    """At most `most` ids behind the prompt, as many as fit for None; ApiError where the engine cannot."""
    engine = served.queue.engine
    room = engine.context - len(prepared.prompt)
    request = GenerationRequest(
        prompt=prepared.prompt,
        max_tokens=min(most or room, room),
        sampling=sampling,
        grammar=prepared.grammar,
        logprobs=logprobs,
        shown=prepared.shown,
        adapter=served.adapter,
    )
    try:
        engine.check(request)
    except ValueError as error:
        raise ApiError(400, str(error)) from None
    return request
