"""What an answer rests on, as OpenAI's clients find it: files that programs write, and passages that were found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from ayllu.serve.responses.hosted.citations import file_citations
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


def searches(query: str) -> str:
    return write_calls([ToolCall(name="file_search", arguments={"query": query})])


def test_a_sentence_is_cited_with_the_file_that_it_rests_on(client: openai.OpenAI, script: Script) -> None:
    texts = {"door.txt": b"The door code is 4711.", "boat.txt": b"The boat sails to Puno on every second Tuesday."}
    files = {name: client.files.create(file=(name, text), purpose="assistants").id for name, text in texts.items()}
    store = client.vector_stores.create(file_ids=list(files.values()))
    while client.vector_stores.retrieve(store.id).status != "completed":
        pass
    tool: Any = {"type": "file_search", "vector_store_ids": [store.id]}
    answer = "It is 4711. The boat sails every second Tuesday! Nobody knows why the llama laughs."
    script(searches("door code and boat"), answer)
    kinds, events = [], []
    with client.responses.stream(model="tiny", input="Tell me", tools=[tool]) as stream:
        for event in stream:
            kinds.append(event.type.removeprefix("response."))
            if event.type == "response.output_text.annotation.added":
                events.append(event.to_dict()["annotation"])
        made = stream.get_final_response()
    found = cited(made)
    assert [(one.type, one.filename, one.file_id) for one in found] == [
        ("file_citation", name, files[name]) for name in ("door.txt", "boat.txt")
    ]
    assert [made.output_text[: one.index].split()[-1] for one in found] == ["4711.", "Tuesday!"]
    assert [one.to_dict() for one in found] == events and kinds.count("output_text.annotation.added") == 2
    script("It is 4711.")
    after = client.responses.create(model="tiny", input="Again?", previous_response_id=made.id, tools=[tool])
    assert cited(after) == [], "nothing was found for this answer"


RESULTS = [
    {"file_id": "a", "filename": "a.md", "text": "Alpacas graze above 3,500 m. Their wool is fine."},
    {"file_id": "b", "filename": "b.md", "text": "Llamas carry loads of 30 kg and graze in herds."},
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Alpacas graze above 3,500 m.", [("a", 28)]),
        ("Alpacas graze above 4,500 m.", []),
        ("Alpacas graze above 3,500 m. Their wool is fine, too.", [("a", 53)]),
        ("Loads of 30 kg.\nAlpacas graze above 3,500 m", [("b", 15), ("a", 43)]),
        ("1. Yes.\n2. No.", []),
        ("Yes, of course.", []),
        ("", []),
        ("Herds graze; llamas carry loads?", [("b", 32)]),
    ],
)
def test_what_a_passage_does_not_say_has_no_citation(text: str, found: list[tuple[str, int]]) -> None:
    assert [(one["file_id"], one["index"]) for one in file_citations(RESULTS, text)] == found
