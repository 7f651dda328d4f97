"""How many tokens a turn's prompt has, whether it fits or not."""

from __future__ import annotations

from ayllu.serve.errors import ApiError
from ayllu.serve.served import Served
from ayllu.serve.turn.asked import Turn
from ayllu.serve.turn.prepare import calls_apart
from ayllu.text.chat import calls_stand_alone, render


def count_tokens(served: Served, turn: Turn) -> int:
    """Ids of the prompt; may take seconds. ApiError where the model's template refuses the messages."""
    tokenizer, messages = served.queue.engine.tokenizer, turn.messages
    try:
        if calls_stand_alone(tokenizer, turn.told):
            messages = calls_apart(messages)
        return len(render(messages, tokenizer, tools=turn.told))
    except ValueError as error:
        raise ApiError(400, str(error), param="messages") from error
