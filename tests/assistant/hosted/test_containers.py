"""`/v1/containers` by the official client: what is put in, what programs leave, and what others may see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from ayllu.assistant.containers import MOST, SandboxContainers
from ayllu.serve.engines.torch_engine import TorchEngine
from ayllu.text.tool_calls import ToolCall, write_calls
from support.models import save_tiny_model
from support.serving.server import serving

Script = Callable[..., Any]


def runs(code: str) -> str:
    return write_calls([ToolCall(name="code_interpreter", arguments={"code": code})])


@pytest.mark.usefixtures("sandbox")
def test_files_go_in_are_worked_on_and_come_out(client: openai.OpenAI, script: Script) -> None:
    made = client.containers.create(name="sums", expires_after={"anchor": "last_active_at", "minutes": 5})
    assert (made.name, made.status, made.memory_limit) == ("sums", "running", "1g")
    given = client.containers.files.create(made.id, file=("in.txt", b"20 22"))
    assert (given.path, given.bytes, given.source) == ("/mnt/data/in.txt", 5, "user")
    script(runs("open('out.txt', 'w').write(str(sum(map(int, open('in.txt').read().split()))))"), "Done.")
    tool: Any = {"type": "code_interpreter", "container": made.id}
    answer = client.responses.create(model="tiny", input="Add", tools=[tool])
    assert answer.output[0].container_id == made.id  # type: ignore[union-attr]
    found = {file.path: file for file in client.containers.files.list(made.id)}
    assert set(found) == {"/mnt/data/in.txt", "/mnt/data/out.txt"}
    out = found["/mnt/data/out.txt"]
    assert out.source == "assistant" and out.container_id == made.id
    assert client.containers.files.content.retrieve(out.id, container_id=made.id).read() == b"42"
    client.containers.files.delete(given.id, container_id=made.id)
    assert [file.id for file in client.containers.files.list(made.id)] == [out.id]
    script(runs("import os; print(sorted(os.listdir()))"), "So.")
    answer = client.responses.create(
        model="tiny", input="List", tools=[tool], include=["code_interpreter_call.outputs"]
    )
    assert answer.output[0].outputs[0].logs == "['out.txt']"  # type: ignore[union-attr,index]
    client.containers.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.containers.retrieve(made.id)


@pytest.mark.usefixtures("sandbox")
def test_a_file_that_a_program_removed_is_listed_no_more(client: openai.OpenAI, script: Script) -> None:
    container = client.containers.create(name="mine")
    client.containers.files.create(container.id, file=("old.txt", b"1"))
    script(runs("import os\nos.rename('old.txt', 'new.txt')"), "Renamed.")
    tool: Any = {"type": "code_interpreter", "container": container.id}
    client.responses.create(model="tiny", input="Rename it", tools=[tool])
    assert [file.path for file in client.containers.files.list(container.id)] == ["/mnt/data/new.txt"]


def test_containers_are_listed_in_pages_and_found_by_name(client: openai.OpenAI) -> None:
    names = [client.containers.create(name=name).id for name in ("a", "b", "a")]
    listed = [one.id for one in client.containers.list(limit=1) if one.id in names]
    assert listed == list(reversed(names)), "the client asks for one page after the other, the latest first"
    assert [one.id for one in client.containers.list(name="b")] == [names[1]]
    for name in names:
        client.containers.delete(name)


def test_files_that_are_removed_while_they_are_listed_hide_none(client: openai.OpenAI) -> None:
    place = client.containers.create(name="emptied").id
    for number in range(7):
        client.containers.files.create(place, file=(f"{number}.txt", b"x"))
    for file in client.containers.files.list(place, limit=2):
        client.containers.files.delete(file.id, container_id=place)
    assert client.containers.files.list(place).data == []
    with pytest.raises(openai.NotFoundError, match="nothing of this list"):
        client.containers.files.list(place, after="cfile_none")


def test_an_uploaded_file_is_put_in_by_its_id(client: openai.OpenAI) -> None:
    file = client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    made = client.containers.create(name="x", file_ids=[file.id])
    again = client.containers.files.create(made.id, file_id=file.id)
    found = client.containers.files.retrieve(again.id, container_id=made.id)
    assert (found.path, found.bytes) == ("/mnt/data/notes.txt", 5)
    client.containers.delete(made.id)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"memory_limit": "64g"}, "memory_limit"),
        ({"network_policy": {"type": "allowlist", "allowed_domains": ["example.com"]}}, "network_policy"),
        ({"expires_after": {"anchor": "last_active_at", "minutes": 600}}, "minutes"),
        ({"file_ids": ["file-none"]}, "file-none"),
        ({"skills": [{"type": "skill_reference", "skill_id": "s"}]}, "skills"),
    ],
)
def test_what_is_not_there_is_refused(client: openai.OpenAI, more: Any, words: str) -> None:
    with pytest.raises(openai.APIStatusError, match=words):
        client.containers.create(name="x", **more)


def test_an_owner_sees_only_their_own_and_there_are_only_so_many() -> None:
    kept = SandboxContainers()
    mine = kept.create("me", "x", 20, {"a.txt": b"1"})
    assert kept.has("me", mine.id) and not kept.has("you", mine.id) and kept.all("you") == []
    for use in (kept.state, kept.files, kept.delete):
        with pytest.raises(KeyError):
            use("you", mine.id)
    with pytest.raises(ValueError, match="no path"):
        kept.put("me", mine.id, "../out", b"")
    with pytest.raises(ValueError, match="MiB"):
        kept.put("me", mine.id, "big", bytes(33 << 20))
    others = [kept.create("you", str(number), 20, {}) for number in range(MOST)]
    assert not kept.has("me", mine.id) and len(kept.all("you")) == len(others)
    kept.close()


def test_without_tools_it_is_said_how_to_have_them(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    with serving(folder, TorchEngine(folder)) as address:
        reply = httpx2.get(f"{address}/v1/containers")
        assert reply.status_code == 501 and "ayllu serve --tools" in reply.json()["error"]["message"]
