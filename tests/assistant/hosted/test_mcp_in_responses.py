"""Tools of an MCP server within a response: a real server, the official client, and a model that is a script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from ayllu.assistant.hosted import ServerTools
from ayllu.assistant.mcp.hosted import AllowedServers
from ayllu.lab.error import UserError
from ayllu.text.tool_calls import ToolCall, write_calls
from support.parts import need_module
from support.serving.responses import OFFICIAL, OFFICIAL_EVENT, OFFICIAL_ITEM
from support.serving.shop import mcp_shop

from .conftest import gateway

need_module("mcp", "MCP needs the package mcp")
Script = Callable[..., Any]


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "sold"
    path.touch()
    return path


@pytest.fixture(scope="module")
def shop(sold: Path) -> Iterator[str]:
    with mcp_shop(sold) as url:
        yield url


@pytest.fixture(scope="module")
def client(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    servers = AllowedServers([shop])
    with gateway(tmp_path_factory.mktemp("gateway"), partial(ServerTools, servers=servers)) as made:
        yield made


def tool(url: str, **more: Any) -> Any:
    return {"type": "mcp", "server_label": "shop", "server_url": url, **more}


def calls(name: str, **arguments: Any) -> str:
    return write_calls([ToolCall(name=name, arguments=arguments)])


def kinds(response: Any) -> list[str]:
    OFFICIAL.validate_json(response.to_json(), strict=True)
    for item in response.output:
        OFFICIAL_ITEM.validate_json(item.to_json(), strict=True)
    return [item.type for item in response.output]


def test_a_tool_is_listed_called_and_answered_with(client: openai.OpenAI, shop: str, script: Script) -> None:
    model = script(calls("price", item="tea"), "It costs 3.50.")
    made = client.responses.create(
        model="tiny", input="The price of tea?", tools=[tool(shop, require_approval="never", allowed_tools=["price"])]
    )
    assert kinds(made) == ["mcp_list_tools", "mcp_call", "message"] and made.output_text == "It costs 3.50."
    listed: Any = made.output[0]
    assert [one.name for one in listed.tools] == ["price"] and listed.tools[0].annotations == {"readOnlyHint": True}
    call: Any = made.output[1]
    assert (call.output, call.error, call.server_label) == ("3.5", None, "shop")
    assert '"price"' in model.prompts[0] and "sell" not in model.prompts[0] and "3.5" in model.prompts[1]
    model = script("As I said.")
    after = client.responses.create(
        model="tiny",
        input="Again?",
        previous_response_id=made.id,
        tools=[tool(shop, require_approval="never", allowed_tools=["price"])],
    )
    assert kinds(after) == ["message"], "a list that was told already is not told again"
    assert "3.5" in model.prompts[0]


@pytest.mark.parametrize("stateless", [False, True])
def test_a_call_waits_until_it_is_approved(
    client: openai.OpenAI, shop: str, sold: Path, script: Script, stateless: bool
) -> None:
    before = sold.read_text()
    script(calls("sell", item="tea"))
    asked = client.responses.create(model="tiny", input="Sell tea", tools=[tool(shop)], store=not stateless)
    assert kinds(asked) == ["mcp_list_tools", "mcp_approval_request"] and sold.read_text() == before
    request: Any = asked.output[1]
    assert (request.name, json.loads(request.arguments)) == ("sell", {"item": "tea"})
    said: Any = [{"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}]
    past: Any = [{"role": "user", "content": "Sell tea"}, *(item.to_dict() for item in asked.output)]
    model = script("Done.")
    done = client.responses.create(
        model="tiny",
        input=[*past, *said] if stateless else said,
        previous_response_id=None if stateless else asked.id,
        store=not stateless,
        tools=[tool(shop, authorization="hidden-token")],
    )
    assert kinds(done) == ["mcp_call", "message"] and done.output_text == "Done."
    call: Any = done.output[0]
    assert call.approval_request_id == request.id and call.output == "sold tea to Bearer hidden-token"
    assert sold.read_text() == before + "tea\n" and len(model.prompts) == 1
    assert "sold tea" in model.prompts[0], "the model answers when the call was made"
    assert "hidden-token" not in json.dumps(done.to_dict()["tools"]), "nor is it kept"
    if not stateless:
        script("Nothing more.")
        client.responses.create(model="tiny", input="Thanks", previous_response_id=done.id, tools=[tool(shop)])
        assert sold.read_text() == before + "tea\n", "an approval is for one call"


def test_what_is_turned_down_is_not_called(client: openai.OpenAI, shop: str, sold: Path, script: Script) -> None:
    before = sold.read_text()
    script(calls("sell", item="tea"))
    asked = client.responses.create(model="tiny", input="Sell tea", tools=[tool(shop)])
    no: Any = {"type": "mcp_approval_response", "approval_request_id": asked.output[1].id, "approve": False}
    model = script("Then not.")
    done = client.responses.create(
        model="tiny", input=[{**no, "reason": "too cheap"}], previous_response_id=asked.id, tools=[tool(shop)]
    )
    assert kinds(done) == ["message"] and sold.read_text() == before
    assert "did not allow this call: too cheap" in model.prompts[0]


def test_approvals_by_filter(client: openai.OpenAI, shop: str, sold: Path, script: Script) -> None:
    before = sold.read_text()
    wanted = {"never": {"read_only": True}}
    script(calls("price", item="tea"), calls("sell", item="tea"))
    made = client.responses.create(model="tiny", input="Go", tools=[tool(shop, require_approval=wanted)])
    assert kinds(made)[1:] == ["mcp_call", "mcp_approval_request"] and sold.read_text() == before


def test_every_event_is_one_of_the_official_client(client: openai.OpenAI, shop: str, script: Script) -> None:
    model = script(calls("sell", item="milk"), "It failed.")
    found = []
    for event in client.responses.create(
        model="tiny", input="Go", tools=[tool(shop, require_approval="never")], stream=True
    ):
        assert OFFICIAL_EVENT.validate_json(event.to_json(), strict=True).type == event.type
        found.append(event.type.removeprefix("response."))
    assert [kind for kind in found if "mcp" in kind] == [
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.failed",
    ]
    assert found[-1] == "completed" and "there is no milk left" in model.prompts[1]


def test_a_certain_tool_can_be_asked_for(client: openai.OpenAI, shop: str, script: Script) -> None:
    script(calls("price", item="tea"), "3.50")
    choice: Any = {"type": "mcp", "server_label": "shop", "name": "price"}
    given = [tool(shop, require_approval="never")]
    made = client.responses.create(model="tiny", input="Go", tools=given, tool_choice=choice)
    assert "mcp_call" in kinds(made)
    with pytest.raises(openai.BadRequestError, match="offers no tool steal"):
        client.responses.create(model="tiny", input="Go", tools=given, tool_choice={**choice, "name": "steal"})


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/mcp",
        "{shop}/../other",
        "{shop}x",
        "http://user@{host}/mcp",
        "http://{host}@evil.example/mcp",
        "http://{host}/",
        "http://localhost:{port}/mcp",
        "file:///etc/passwd",
        "http://[::1",
    ],
)
def test_no_server_is_gone_to_that_was_not_allowed(client: openai.OpenAI, shop: str, url: str) -> None:
    host = re.sub("http://|/mcp", "", shop)
    given = url.format(shop=shop, host=host, port=host.rpartition(":")[2])
    with pytest.raises(openai.BadRequestError, match="its operator allows one"):
        client.responses.create(model="tiny", input="Go", tools=[tool(given)])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"headers": {"Host": "evil.example"}}, "Host"),
        ({"headers": {"X-One": "a\r\nX-Two: b"}}, "printable"),
        ({"connector_id": "connector_gmail"}, "connector_id"),
    ],
)
def test_what_is_not_done_is_said(client: openai.OpenAI, shop: str, more: Any, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        client.responses.create(model="tiny", input="Go", tools=[tool(shop, **more)])


def test_a_server_with_a_name_is_used_without_its_address(shop: str, script: Script, tmp_path: Path) -> None:
    with gateway(tmp_path, partial(ServerTools, servers=AllowedServers([f"corner={shop}"]))) as client:
        assert client.models.list().data[0].to_dict()["meta"]["mcp_servers"] == ["corner"]  # type: ignore[index]
        script(calls("price", item="tea"), "3.50")
        named: Any = {"type": "mcp", "server_label": "corner", "require_approval": "never"}
        made = client.responses.create(model="tiny", input="Tea?", tools=[named])
        assert kinds(made) == ["mcp_list_tools", "mcp_call", "message"]
        assert shop not in made.to_json(), "an address may hold a secret"
        with pytest.raises(openai.BadRequestError, match="no MCP server of the name other"):
            client.responses.create(model="tiny", input="Go", tools=[{**named, "server_label": "other"}])
        with pytest.raises(openai.BadRequestError, match="its operator allows one"):
            client.responses.create(model="tiny", input="Go", tools=[{**named, "server_url": shop}])
    with pytest.raises(UserError, match="corner twice"):
        AllowedServers([f"corner={shop}", f"corner={shop}"])


def test_an_answer_to_no_request_is_refused(client: openai.OpenAI, shop: str) -> None:
    stray: Any = [{"type": "mcp_approval_response", "approval_request_id": "mcpr_none", "approve": True}]
    with pytest.raises(openai.BadRequestError, match="no approval request"):
        client.responses.create(model="tiny", input=stray, tools=[tool(shop)])


def test_a_server_that_is_not_there_is_a_failed_dependency(tmp_path: Path) -> None:
    place = "http://127.0.0.1:9/mcp"
    servers = AllowedServers(["http://127.0.0.1:9"])
    with gateway(tmp_path, partial(ServerTools, servers=servers)) as client:
        with pytest.raises(openai.APIStatusError, match="shop does not list its tools") as raised:
            client.responses.create(model="tiny", input="Go", tools=[tool(place)])
        assert raised.value.status_code == 424
    with pytest.raises(UserError, match="--mcp-server"):
        AllowedServers(["127.0.0.1:9"])
