"""Any server that speaks OpenAI's chat completions: Ayllu's own, llama.cpp, vLLM, Ollama, or one far away."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import httpx2

from ayllu.assistant.models.driver import Asked, ModelError, Turned, Words
from ayllu.assistant.session import message
from ayllu.serve.responses.items import new_id
from ayllu.serve.state.items import Item
from ayllu.serve.turn.reader import call_id


class RemoteDriver:
    """Drives the model of a server by `POST /chat/completions`, as it streams."""

    def __init__(self, url: str, *, model: str | None = None, key: str | None = None, seconds: float = 600) -> None:
        """`url` ends with /v1, or gets it; without a `model` the server's first is taken."""
        base = url.rstrip("/")
        self._base = base if base.endswith("/v1") else f"{base}/v1"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(seconds, connect=10))
        self._model = model
        self.name = model or base

    async def turn(self, asked: Asked) -> AsyncGenerator[Words | Turned]:
        body = _body(asked, await self._named())
        text, calls, usage, streamed = "", dict[int, dict[str, Any]](), dict[str, Any](), False
        try:
            async with self._client.stream("POST", f"{self._base}/chat/completions", json=body) as reply:
                if reply.status_code != 200:
                    raise ModelError(_refusal(self._base, reply.status_code, (await reply.aread())[:2000]))
                async for line in reply.aiter_lines():
                    chunk = _chunk(line)
                    usage = chunk.get("usage") or usage
                    for delta in _deltas(chunk):
                        streamed = True
                        if words := _words(delta):
                            text += words
                            yield Words(text=words)
                        _gather(calls, delta.get("tool_calls") or ())
        except (AttributeError, TypeError, ValueError, KeyError):
            raise ModelError(f"{self._base} answered in a form that is not OpenAI's") from None
        except httpx2.HTTPError as error:
            raise ModelError(f"{self._base} did not answer ({error or type(error).__name__})") from None
        if not streamed:
            raise ModelError(f"{self._base} ended its answer before it had begun; it has to stream")
        items = [message("assistant", text)] if text or not calls else []
        items += [_call(calls[number]) for number in sorted(calls)]
        yield Turned(items=items, read=_count(usage, "prompt_tokens"), written=_count(usage, "completion_tokens"))

    async def close(self) -> None:
        await self._client.aclose()

    async def _named(self) -> str:
        if self._model is None:
            try:
                reply = await self._client.get(f"{self._base}/models")
                self._model = str(reply.json()["data"][0]["id"])
            except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
                words = f"{self._base} does not say which models it has ({type(error).__name__}); name one as URL#MODEL"
                raise ModelError(words) from None
            self.name = self._model
        return self._model


def _body(asked: Asked, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(asked),
        "max_tokens": asked.most,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if asked.temperature is not None:
        body["temperature"] = asked.temperature
    if asked.tools:
        body["tools"] = [tool.as_json() for tool in asked.tools]
        body["tool_choice"] = asked.choice
    if asked.schema is not None:
        form = {"name": "turn", "schema": dict(asked.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def _messages(asked: Asked) -> list[dict[str, Any]]:
    """The items as messages: calls of one turn stand in one."""
    found: list[dict[str, Any]] = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
    for item in asked.items:
        if item["type"] == "message":
            text = "".join(part.get("text") or "" for part in item["content"])
            found.append({"role": item["role"], "content": text})
        elif item["type"] == "function_call":
            call = {
                "id": item["call_id"],
                "type": "function",
                "function": {"name": item["name"], "arguments": item["arguments"]},
            }
            if found and found[-1]["role"] == "assistant":
                found[-1].setdefault("tool_calls", []).append(call)
            else:
                found.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif item["type"] == "function_call_output":
            found.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
    return found


def _chunk(line: str) -> dict[str, Any]:
    """What a line of the stream says."""
    if not line.startswith("data:") or line[5:].strip() == "[DONE]":
        return {}
    try:
        found = json.loads(line[5:])
    except ValueError:
        raise ModelError("the server's stream holds a line that is no JSON") from None
    if not isinstance(found, dict):
        return {}
    if "error" in found:
        raise ModelError(f"the server ended its answer: {str(found['error'])[:300]}")
    return found


def _deltas(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a chunk adds to the only answer that was asked for."""
    return [choice.get("delta") or {} for choice in chunk.get("choices") or () if not choice.get("index")]


def _words(delta: Mapping[str, Any]) -> str:
    """Its words, which some servers give in parts, those of their thinking aside."""
    content = delta.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


def _count(usage: Mapping[str, Any], name: str) -> int:
    """Tokens, of which some servers do not tell."""
    found = usage.get(name)
    return found if isinstance(found, int) else 0


def _gather(calls: dict[int, dict[str, Any]], deltas: Sequence[Mapping[str, Any]]) -> None:
    for delta in deltas:
        call = calls.setdefault(int(delta.get("index") or 0), {"id": "", "name": "", "arguments": ""})
        function = delta.get("function") or {}
        call["id"] = delta.get("id") or call["id"]
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""


def _call(found: Mapping[str, Any]) -> Item:
    call = {"call_id": str(found["id"] or call_id()), "name": found["name"], "arguments": found["arguments"] or "{}"}
    return {"id": new_id("fc"), "type": "function_call", "status": "completed", **call}


def _refusal(base: str, status: int, body: bytes) -> str:
    try:
        told = json.loads(body)["error"]
        words = str(told["message"] if isinstance(told, dict) else told)
    except (ValueError, KeyError, TypeError):
        words = body.decode(errors="replace")
    return f"{base} refused ({status}): {' '.join(words.split())[:300]}"
