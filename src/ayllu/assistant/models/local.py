"""A model of this machine, its engine in this process: answered by the gateway's own responder, without the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import ValidationError

from ayllu.assistant.models.driver import Asked, ModelError, Turned, Words
from ayllu.lab.error import UserError
from ayllu.serve.errors import ApiError
from ayllu.serve.limits import Limits
from ayllu.serve.responses.body import ResponseBody
from ayllu.serve.responses.responder import Responder
from ayllu.serve.served import LoadableModel, Models
from ayllu.serve.state.keeper import Keeper


class LocalDriver:
    """Drives a loadable model, or the first of `Models`; calls of tools are held to their schemas by the grammar."""

    def __init__(self, source: LoadableModel | Models, *, limits: Limits | None = None) -> None:
        """Loads the model: UserError where it cannot be had, or holds no conversations.

        `Models` that others use too are theirs to close.
        """
        self._models = source if isinstance(source, Models) else Models(source)
        self._own = self._models is not source
        served = self._models.load_first()
        try:
            served.check_converses()
        except UserError:
            if self._own:
                self._models.close()
            raise
        self.name, self.parameters = served.about.name, served.about.parameters
        self._responder = Responder(self._models, limits or Limits(), Keeper(None))

    async def turn(self, asked: Asked) -> AsyncGenerator[Words | Turned]:
        try:
            body = ResponseBody.model_validate(_body(asked))
            run = await self._responder.begin(body, client="assist", owner="")
        except ApiError as error:
            raise ModelError(error.message) from None
        except ValidationError as error:
            raise ModelError(f"the conversation cannot be told to the model: {error.errors()[0]['msg']}") from None
        try:
            async for event in run.events():
                if event["type"] == "response.output_text.delta":
                    yield Words(text=event["delta"])
            await run.wait()
            if run.error is not None:
                raise ModelError(run.error.message)
            usage = run.resource["usage"] or {}
            output = [item for item in run.resource["output"] if item["status"] == "completed" or not _is_call(item)]
            yield Turned(items=output, read=usage.get("input_tokens", 0), written=usage.get("output_tokens", 0))
        finally:
            run.cancel()
            await run.wait()

    async def close(self) -> None:
        if self._own:
            self._models.close()


def _is_call(item: dict[str, Any]) -> bool:
    return item["type"] == "function_call"


def _body(asked: Asked) -> dict[str, Any]:
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": True,
        }
        for tool in asked.tools
    ]
    body: dict[str, Any] = {
        "input": list(asked.items),
        "instructions": asked.instructions or None,
        "tools": tools,
        "tool_choice": asked.choice if tools else "auto",
        "max_output_tokens": asked.most,
        "truncation": "auto",
        "store": False,
        "temperature": asked.temperature,
    }
    if asked.schema is not None:
        form = {"type": "json_schema", "name": "turn", "schema": dict(asked.schema), "strict": True}
        body["text"] = {"format": form}
    return body
