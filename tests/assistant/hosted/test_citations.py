"""Files that programs write within a response, as OpenAI's clients find and download them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from ayllu.text.tool_calls import ToolCall, write_calls
from support.serving.responses import OFFICIAL_EVENT, OFFICIAL_ITEM

Script = Callable[..., Any]
CODE: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


def runs(code: str) -> str:
    return write_calls([ToolCall(name="code_interpreter", arguments={"code": code})])


def cited(response: Any) -> list[Any]:
    for item in response.output:
        OFFICIAL_ITEM.validate_json(item.to_json(), strict=True)
    return [one for item in response.output if item.type == "message" for one in item.content[0].annotations]


@pytest.mark.usefixtures("sandbox")
def test_a_file_is_cited_where_the_answer_names_it_and_can_be_downloaded(client: openai.OpenAI, script: Script) -> None:
    script(runs("open('sums.csv', 'w').write('1,2')"), "Here is [sums](sandbox:/mnt/data/sums.csv).")
    made = client.responses.create(model="tiny", input="Make a file", tools=[CODE])
    [file] = cited(made)
    assert (file.type, file.filename) == ("container_file_citation", "sums.csv")
    assert made.output_text[file.start_index : file.end_index] == "sandbox:/mnt/data/sums.csv"
    assert client.containers.files.content.retrieve(file.file_id, container_id=file.container_id).read() == b"1,2"
    script("Nothing new.")
    after = client.responses.create(model="tiny", input="And?", previous_response_id=made.id, tools=[CODE])
    assert cited(after) == [], "a file is cited by the answer that wrote it"
    assert cited(client.responses.retrieve(made.id)) == [file], "and that is kept"


@pytest.mark.usefixtures("sandbox")
def test_a_file_that_nobody_names_is_cited_too_and_one_that_is_written_twice_once(
    client: openai.OpenAI, script: Script
) -> None:
    script(runs("open('a.txt', 'w').write('1')"), runs("open('a.txt', 'w').write('22')"), "Done with data.txt.")
    [file] = cited(client.responses.create(model="tiny", input="Go", tools=[CODE]))
    assert (file.start_index, file.end_index, file.filename) == (0, 0, "a.txt"), "data.txt names another file"
    assert client.containers.files.content.retrieve(file.file_id, container_id=file.container_id).read() == b"22"


@pytest.mark.usefixtures("sandbox")
def test_a_picture_is_a_file_of_the_container(client: openai.OpenAI, script: Script) -> None:
    draws = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    script(runs(draws), runs(draws), runs("import os\nprint(sorted(os.listdir()))"), "Drawn.")
    made: Any = client.responses.create(model="tiny", input="Draw", tools=[CODE])
    assert [one.filename for one in cited(made)] == ["picture-1.png", "picture-2.png"]
    file = cited(made)[0]
    content = client.containers.files.content.retrieve(file.file_id, container_id=file.container_id).read()
    assert content.startswith(b"\x89PNG")
    assert "picture-2.png" in made.output[2].outputs[0].logs, "programs find it"


@pytest.mark.usefixtures("sandbox")
def test_the_stream_tells_of_it_before_the_text_is_done(client: openai.OpenAI, script: Script) -> None:
    script(runs("open('a.txt', 'w').write('1')"), "It is in a.txt.")
    kinds, found = [], []
    for event in client.responses.create(model="tiny", input="Go", tools=[CODE], stream=True):
        assert OFFICIAL_EVENT.validate_json(event.to_json(), strict=True).type == event.type
        kinds.append(event.type.removeprefix("response."))
        if event.type == "response.output_text.annotation.added":
            found.append(event.to_dict()["annotation"])
        if event.type == "response.content_part.done":
            assert event.part.to_dict()["annotations"] == found  # type: ignore[union-attr]
    at = kinds.index("output_text.annotation.added")
    assert kinds[at - 1 : at + 2] == ["output_text.delta", "output_text.annotation.added", "output_text.done"]
    assert [(one["filename"], one["start_index"], one["end_index"]) for one in found] == [("a.txt", 9, 14)]
