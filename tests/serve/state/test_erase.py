"""Words that are erased from all that is kept."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

from ayllu.serve.state.database import Database
from ayllu.serve.state.migrations import migrate
from ayllu.serve.state.store import KeptResponse, Store

SAID = "the code is 4711"


def message(name: str, role: str, text: str) -> dict[str, object]:
    return {"id": name, "type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def test_words_go_from_items_answers_events_and_turns(opener: Callable[[], Database]) -> None:
    database = opener()
    migrate(database)
    store = Store(database)
    said = [
        message("m1", "user", "hello"),
        message("m2", "assistant", f"Remember: {SAID}"),
        message("m3", "user", "and?"),
        message("m4", "assistant", "four seven one one"),
        {"id": "f", "type": "function_call", "call_id": "c", "name": "n", "arguments": json.dumps({"x": SAID})},
    ]
    store.create_conversation("c", 1, {}, said)
    deltas = [{"delta": piece} for piece in ("the co", "de is 4711")]
    store.begin(KeptResponse(id="r", created=1, status="in_progress", body={"instructions": SAID}), [], server="s")
    kept = KeptResponse(id="r", created=1, status="completed", body={"instructions": SAID})
    store.finish(kept, [message("m5", "assistant", SAID)], events=zlib.compress(json.dumps(deltas).encode()))
    changed, complete = store.erase([SAID], {("c", "m3"): ()})
    items, _ = store.conversation_items("c")
    assert complete and changed == 5
    texts = [item["content"][0]["text"] for item in items if item["type"] == "message"]
    assert texts == ["hello", "Remember: [erased]", "and?", "[erased]"]
    found = store.response("r")
    assert found is not None and "4711" not in json.dumps([found[0].body, found[1], items])
    assert store.events("r") is None
    assert store.erase(["never said"]) == (0, True)
