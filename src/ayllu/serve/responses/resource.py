"""A response as the API gives it: what was asked, what came of it, and how far it is."""

from __future__ import annotations

import time
from typing import Any

from ayllu.model.sampling import Sampling
from ayllu.serve.responses.body import FunctionTool, ResponseBody, echoed_format


def resource(
    body: ResponseBody, *, name: str, model: str, created: int, stored: bool, sampling: Sampling
) -> dict[str, Any]:
    """The response to `body` before anything was computed, but for its `output`."""
    text: dict[str, Any] = {"format": dict(echoed_format(body.text))}
    if body.text.verbosity is not None:
        text["verbosity"] = body.text.verbosity
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": bool(tool.strict),
        }
        if isinstance(tool, FunctionTool)
        else tool.model_dump(mode="json", exclude_none=True)
        for tool in body.tools
    ]
    choice = body.tool_choice if isinstance(body.tool_choice, str) else body.tool_choice.model_dump()
    found: dict[str, Any] = {
        "id": name,
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "queued" if body.background else "in_progress",
        "background": bool(body.background),
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "model": model,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": stored,
        "temperature": sampling.temperature,
        "text": text,
        "tool_choice": choice,
        "tools": tools,
        "top_logprobs": body.top_logprobs or 0,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "truncation": body.truncation or "disabled",
        "usage": None,
        "user": body.user,
        "metadata": body.metadata,
    }
    if body.conversation is not None:
        found["conversation"] = {"id": body.conversation.id}
    return found


def usage(*, read: int, cached: int, written: int) -> dict[str, Any]:
    """Tokens read and written."""
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def ended(body: dict[str, Any], status: str, **fields: Any) -> dict[str, Any]:
    """`body` with how it has ended."""
    completed = int(time.time()) if status == "completed" else None
    return {**body, "status": status, "completed_at": completed, **fields}


def failure(message: str, code: str = "server_error") -> dict[str, str]:
    """Why a response has failed."""
    return {"code": code, "message": message}
