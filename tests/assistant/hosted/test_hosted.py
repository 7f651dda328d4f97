"""Tools that the gateway runs within a response, asked for by the official client; the model's words are a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.serve.errors import ApiError
from ayllu.text.tool_calls import ToolCall, write_calls
from support.models import TINY, save_tiny_model
from support.serving.responses import OFFICIAL_EVENT, OFFICIAL_ITEM
from support.serving.server import serving


def runs(code: str) -> str:
    return write_calls([ToolCall(name="code_interpreter", arguments={"code": code})])


Script = Callable[..., Any]
CODE: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


@pytest.mark.usefixtures("sandbox")
def test_code_runs_and_the_model_answers_with_what_it_printed(client: openai.OpenAI, script: Script) -> None:
    model = script(runs("x = 6 * 7\nprint(x)"), "It is 42.")
    made = client.responses.create(model="tiny", input="Six times seven?", tools=[CODE])
    call, words = made.output
    assert call.type == "code_interpreter_call" and call.outputs and call.container_id.startswith("cntr_")
    assert call.outputs[0].type == "logs" and call.outputs[0].logs == "42"
    assert made.output_text == "It is 42." and words.type == "message" and made.status == "completed"
    assert "42" in model.prompts[1] and made.usage is not None and made.usage.output_tokens == 2
    model = script(runs("print(x + 1)"), "And 43.")
    after = client.responses.create(model="tiny", input="One more?", previous_response_id=made.id, tools=[CODE])
    assert after.output[0].outputs[0].logs == "43", "the conversation's container keeps its state"  # type: ignore[union-attr,index]
    echoed: Any = [{"role": "user", "content": "Hi"}, *(item.to_dict() for item in made.output)]
    model = script("Once more.")
    again = client.responses.create(model="tiny", input=[*echoed, {"role": "user", "content": "?"}])
    assert again.output_text == "Once more." and "42" in model.prompts[0]


@pytest.mark.usefixtures("sandbox")
def test_every_event_is_one_of_the_official_client(client: openai.OpenAI, script: Script) -> None:
    model = script(runs("1 / 0"), "It failed.")
    kinds = []
    for event in client.responses.create(model="tiny", input="Go", tools=[CODE], stream=True):
        kinds.append(event.type.removeprefix("response."))
        assert OFFICIAL_EVENT.validate_json(event.to_json(), strict=True).type == event.type
    assert [kind for kind in kinds if "code_interpreter" in kind] == [
        "code_interpreter_call.in_progress",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
    ]
    assert kinds[-1] == "completed" and "ZeroDivisionError" in model.prompts[1]


def test_files_are_searched(client: openai.OpenAI, script: Script) -> None:
    file = client.files.create(file=("door.txt", b"The door code is 4711."), purpose="assistants")
    store = client.vector_stores.create(file_ids=[file.id])
    while client.vector_stores.retrieve(store.id).status != "completed":
        pass
    model = script(write_calls([ToolCall(name="file_search", arguments={"query": "door code"})]), "It is 4711.")
    tool: Any = {"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 2}
    made = client.responses.create(model="tiny", input="The code?", tools=[tool], include=["file_search_call.results"])
    call = made.output[0]
    assert call.type == "file_search_call" and call.queries == ["door code"] and call.results
    assert call.results[0].filename == "door.txt" and "4711" in str(call.results[0].text)
    assert "4711" in model.prompts[1] and made.output_text == "It is 4711."
    for item in client.responses.retrieve(made.id).output:
        OFFICIAL_ITEM.validate_json(item.to_json(), strict=True)
    other = client.vector_stores.create(file_ids=[file.id])
    while client.vector_stores.retrieve(other.id).status != "completed":
        pass
    script(write_calls([ToolCall(name="file_search", arguments={"query": "door code"})]), "It is 4711.")
    tool = {"type": "file_search", "vector_store_ids": [store.id, store.id, other.id]}
    made = client.responses.create(model="tiny", input="The code?", tools=[tool])
    assert len(made.output[0].results) == 1, "what is in several stores is found once"  # type: ignore[union-attr,arg-type]


def test_a_search_that_failed_is_not_one_that_found_nothing(
    client: openai.OpenAI, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = client.vector_stores.create()

    async def failing(*_: object) -> None:
        raise ApiError(503, "busy")

    monkeypatch.setattr("ayllu.serve.vector_stores.routes.VectorStores._hits", failing)
    model = script(write_calls([ToolCall(name="file_search", arguments={"query": "door"})]), "I could not look.")
    tool: Any = {"type": "file_search", "vector_store_ids": [store.id]}
    made = client.responses.create(model="tiny", input="The code?", tools=[tool])
    assert made.output[0].to_dict()["status"] == "failed"
    assert "the search failed" in model.prompts[1] and "nothing was found" not in model.prompts[1]


def test_the_clients_own_calls_end_the_response(client: openai.OpenAI, script: Script) -> None:
    weather: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    model = script(write_calls([ToolCall(name="weather", arguments={})]))
    made = client.responses.create(model="tiny", input="Go", tools=[CODE, weather])
    assert [item.type for item in made.output] == ["function_call"] and model.says == []


def test_no_more_calls_than_allowed(client: openai.OpenAI, script: Script) -> None:
    model = script(*(write_calls([ToolCall(name="code_interpreter", arguments={"code": "1"})]) for _ in range(5)))
    made = client.responses.create(model="tiny", input="Go", tools=[CODE], max_tool_calls=2)
    assert len(made.output) == 2 and len(model.says) == 3


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"type": "code_interpreter", "container": "cntr_none"}, "no container"),
        ({"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-none"]}}, "file-none"),
        ({"type": "file_search", "vector_store_ids": ["vs_none"]}, "no vector store 'vs_none'"),
        ({"type": "web_search"}, "function"),
    ],
)
def test_what_is_not_there_is_refused(client: openai.OpenAI, tool: Any, words: str) -> None:
    with pytest.raises(openai.APIStatusError, match=words):
        client.responses.create(model="tiny", input="Go", tools=[tool])


def test_without_a_runner_they_are_refused(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny", replace(TINY, context=1024))
    with serving(folder, TorchEngine(folder)) as address:
        alone = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.BadRequestError, match="ayllu serve --tools"):
            alone.responses.create(model="tiny", input="Go", tools=[CODE])
