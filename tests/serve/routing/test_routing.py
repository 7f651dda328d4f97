"""Endpoints get what their signatures name, and the document tells of the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Annotated, Any, Literal

import httpx2
import pytest
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.testclient import TestClient

from ayllu.serve.errors import ApiError
from ayllu.serve.routing.app import App


class Pet(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)
    name: str
    legs: int = Field(4, ge=0)


class Flock(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)
    pets: list[Pet]


Limit = Annotated[int, Field(ge=1, le=100)]
Include = Annotated[list[str], Field(alias="include[]", max_length=2)]


async def list_pets(
    http: Request,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
    include: Include = [],  # noqa: B006
) -> dict[str, Any]:
    """All of them."""
    return {"limit": limit, "order": order, "after": after, "include": include, "method": http.method}


async def put(owner: str, body: Pet, loud: bool = False) -> dict[str, Any]:
    """A pet of an owner."""
    if body.name == "cat":
        raise ApiError(409, "there is a cat already", param="name")
    return {"owner": owner, **body.model_dump(), "loud": loud}


async def leave(owner: str) -> dict[str, Any]:
    return {"owner": owner}


async def describe(body: Pet | None = None) -> dict[str, Any]:
    return {"name": body.name if body else None}


async def count(body: Flock) -> dict[str, Any]:
    return {"count": len(body.pets)}


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = App()
    app.add_endpoint("/pets", list_pets)
    app.add_endpoint("/pets/{owner}", put, methods=["POST"])
    app.add_endpoint("/pets/{owner}", leave, methods=["DELETE"], described=False)
    app.add_endpoint("/describe", describe, methods=["POST"])
    app.add_endpoint("/flock", count, methods=["POST"], described=False)
    return TestClient(app, raise_server_exceptions=False)


def problem(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["message"]


def test_a_query_is_read_by_the_types_of_the_arguments(client: TestClient) -> None:
    plain = {"limit": 20, "order": "desc", "after": None, "include": [], "method": "GET"}
    assert client.get("/pets").json() == plain
    asked = client.get("/pets?limit=7&order=asc&after=x&include[]=a&include[]=b&unknown=1").json()
    assert asked == {"limit": 7, "order": "asc", "after": "x", "include": ["a", "b"], "method": "GET"}
    assert client.get("/pets?limit=3&limit=4").json()["limit"] == 4


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "order=up", "include[]=a&include[]=b&include[]=c"])
def test_a_query_that_cannot_be_read_is_refused_by_name(client: TestClient, query: str) -> None:
    status, message = problem(client.get(f"/pets?{query}"))
    assert status == 400 and query.partition("=")[0] in message


def test_bodies_and_parameters_of_the_address_arrive(client: TestClient) -> None:
    reply = client.post("/pets/ann%20b?loud=true", json={"name": "dog"})
    assert reply.json() == {"owner": "ann b", "name": "dog", "legs": 4, "loud": True}
    assert problem(client.post("/pets/ann", json={"name": "cat"})) == (409, "there is a cat already")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"json": {"legs": 2}}, "name is missing"),
        ({"json": {"name": "dog", "legs": -1}}, "legs: "),
        ({"json": {"name": "dog", "colour": "red"}}, "colour is not a parameter that this server knows"),
        ({"json": ["dog"]}, "must be a JSON object"),
        ({"json": None}, "must be a JSON object"),
        ({}, "must be a JSON object"),
        ({"content": b'{"name": "dog"}'}, "must be a JSON object"),
        ({"content": b'{"name": "dog"}', "headers": {"content-type": "text/plain"}}, "must be a JSON object"),
        ({"content": b'{"name": NaN}', "headers": {"content-type": "application/json"}}, "the body is not JSON: "),
        ({"content": b'{"name"', "headers": {"content-type": "application/json"}}, "the body is not JSON: "),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_a_sentence(
    client: TestClient, sent: dict[str, Any], told: str
) -> None:
    status, message = problem(client.post("/pets/ann", **sent))
    assert status == 400 and told in message


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.pets+json"])
def test_json_goes_by_several_names(client: TestClient, kind: str) -> None:
    reply = client.post("/pets/ann", content=b'{"name": "dog"}', headers={"content-type": kind})
    assert reply.json()["name"] == "dog"


def test_a_body_that_may_be_left_out_may_be_left_out(client: TestClient) -> None:
    assert client.post("/describe").json() == {"name": None}
    assert client.post("/describe", json=None).json() == {"name": None}
    assert client.post("/describe", json={"name": "dog"}).json() == {"name": "dog"}
    assert client.post("/describe", json={}).status_code == 400


def test_who_sends_something_else_for_an_object_is_told_so_and_no_class_of_ours(client: TestClient) -> None:
    status, message = problem(client.post("/flock", json={"pets": [{"name": "dog"}, 5]}))
    assert (status, message) == (400, "pets.1: it must be an object")


def test_only_the_methods_that_were_named_are_answered(client: TestClient) -> None:
    assert client.head("/pets").status_code == 200
    assert problem(client.get("/pets/ann")) == (405, "GET /pets/ann is not possible; use another method")
    assert client.head("/pets/ann").status_code == 405
    assert client.get("/pets/ann").headers["allow"] == "DELETE, POST"
    assert problem(client.get("/nowhere")) == (404, "there is nothing at GET /nowhere")


@pytest.mark.filterwarnings("error")
def test_the_document_tells_what_the_endpoints_read(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/pets", "/pets/{owner}", "/describe"}
    listing = document["paths"]["/pets"]["get"]
    assert "head" not in document["paths"]["/pets"] and listing["description"] == "All of them."
    told = {one["name"]: one for one in listing["parameters"]}
    assert set(told) == {"limit", "order", "after", "include[]"}
    assert told["limit"]["schema"]["maximum"] == 100 and told["limit"]["schema"]["default"] == 20
    put = document["paths"]["/pets/{owner}"]["post"]
    assert [(one["name"], one["in"], one["required"]) for one in put["parameters"]] == [
        ("owner", "path", True),
        ("loud", "query", False),
    ]
    body = put["requestBody"]
    assert body["required"] and body["content"]["application/json"]["schema"]["$ref"].endswith("/Pet")
    assert document["components"]["schemas"]["Pet"]["required"] == ["name"]
    assert not document["paths"]["/describe"]["post"]["requestBody"].get("required", False)


def test_many_who_ask_for_the_document_first_get_one_that_was_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def told(self: App) -> dict[str, Any]:
        made.append(describe_routes(self))
        return made[-1]

    describe_routes = App.document
    monkeypatch.setattr(App, "document", told)
    app = App()
    app.add_endpoint("/pets/{owner}", leave, methods=["DELETE"], described=False)
    app.add_endpoint("/describe", describe, methods=["POST"])

    async def ask() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as several:
            return await asyncio.gather(*(several.get("/openapi.json") for _ in range(8)))

    assert [set(reply.json()["paths"]) for reply in asyncio.run(ask())] == [{"/describe"}] * 8
    assert len(made) == 1


def test_what_the_first_answer_does_not_need_is_not_imported() -> None:
    late = ("fastapi", "numpy", "llguidance", "torch", "jinja2", "openai", "mcp")
    code = f"import sys, ayllu.serve.server, ayllu.serve.gateway; print([n for n in {late} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_begins_to_load_before_what_speaks_http_is_imported() -> None:
    late = ("uvicorn", "starlette", "pydantic", "cryptography", "numpy")
    code = "import sys, ayllu.cli.serve, ayllu.serve.server, ayllu.serve.source;"
    code += f"print([n for n in {late} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_engine_s_process_imports_no_grammars_until_a_request_has_one() -> None:
    code = "import sys, ayllu.serve.engines.process.child, ayllu.serve.engines.native.engine;"
    code += "print([n for n in ('llguidance', 'torch', 'pydantic', 'starlette') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
