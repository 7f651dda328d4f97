"""`POST /tokenize` and `POST /detokenize`: the bodies of vLLM, and those of llama.cpp, which have `content`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

from ayllu.serve.completions.fields import Unsupported
from ayllu.serve.completions.messages import ChatMessage, conversation
from ayllu.serve.completions.tools import MOST_TOOLS, FunctionTool
from ayllu.serve.errors import ApiError
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models, Served
from ayllu.serve.turn.prepare import calls_apart
from ayllu.text.bpe import byte_letters
from ayllu.text.chat import calls_stand_alone, render
from ayllu.text.tokenizer import Tokenizer

OF = {
    "content": {"add_special", "parse_special", "with_pieces"},
    "prompt": {"add_special_tokens", "return_token_strs"},
    "messages": {"add_generation_prompt", "return_token_strs", "tools"},
}
"""What can be said of each of the three."""
UNDONE = {"continue_final_message", "chat_template", "chat_template_kwargs"}


class TokenizeBody(BaseModel):
    """One of three: `content` (llama.cpp), `prompt` or `messages` (vLLM)."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: str | None = None
    content: StrictStr | None = None
    add_special: bool = False
    """BOS before `content`."""
    parse_special: bool = True
    """Whether special tokens that `content` spells become their ids."""
    with_pieces: bool = False
    prompt: StrictStr | None = None
    add_special_tokens: bool = True
    """BOS before `prompt`."""
    return_token_strs: bool | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=10_000)
    add_generation_prompt: bool = True
    continue_final_message: Unsupported = None
    chat_template: Unsupported = None
    chat_template_kwargs: Unsupported = None
    tools: list[FunctionTool] | None = Field(None, max_length=MOST_TOOLS)

    @model_validator(mode="after")
    def _one(self) -> TokenizeBody:
        if sum(one is not None for one in (self.content, self.prompt, self.messages)) != 1:
            raise ValueError("give one of content, prompt and messages")
        given = next(name for name in OF if getattr(self, name) is not None)
        foreign = {name for name in self.model_fields_set if name not in {"model", *OF, *OF[given], *UNDONE}}
        if foreign:
            raise ValueError(f"{min(foreign)} says nothing of {given}; leave it out")
        return self


class DetokenizeBody(BaseModel):
    """Ids of a text."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: str | None = None
    tokens: list[StrictInt]


class Tokens:
    """Both routes."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/tokenize", self.tokenize, methods=["POST"])
        app.add_endpoint("/detokenize", self.detokenize, methods=["POST"])

    async def tokenize(self, body: TokenizeBody) -> dict[str, Any]:
        """The ids of a text or of a conversation."""
        served = await self._models.find(body.model)
        tokenizer = served.queue.engine.tokenizer
        ids = await served.prepare(lambda given: _ids(served, given), body)
        if body.content is not None:
            if not body.with_pieces:
                return {"tokens": ids}
            return {"tokens": await served.prepare(lambda given: _pieces(tokenizer, given), ids)}
        strings = [tokenizer.token(i) for i in ids] if body.return_token_strs else None
        return {
            "count": len(ids),
            "max_model_len": served.queue.engine.context,
            "tokens": ids,
            "token_strs": strings,
        }

    async def detokenize(self, body: DetokenizeBody) -> dict[str, str]:
        """The text of ids, special tokens spelled out; by both servers' names."""
        served = await self._models.find(body.model)
        tokenizer = served.queue.engine.tokenizer
        if not all(0 <= i < tokenizer.size for i in body.tokens):
            raise ApiError(400, f"tokens: ids must be from 0 to {tokenizer.size - 1}", param="tokens")
        text = await served.prepare(lambda ids: tokenizer.decode(ids, skip_special=False), body.tokens)
        return {"prompt": text, "content": text}


def _ids(served: Served, body: TokenizeBody) -> list[int]:
    tokenizer = served.queue.engine.tokenizer
    if body.messages is not None:
        tools = [tool.function.tool() for tool in body.tools or ()]
        messages = conversation(body.messages)
        try:
            if calls_stand_alone(tokenizer, tools):
                messages = calls_apart(messages)
            return render(messages, tokenizer, tools=tools, reply=body.add_generation_prompt)
        except ValueError as error:
            raise ApiError(400, str(error), param="messages") from error
    if body.prompt is not None:
        return [*([tokenizer.bos] if body.add_special_tokens else []), *tokenizer.encode(body.prompt)]
    assert body.content is not None
    text = body.content
    ids = tokenizer.encode_rendered(text, _unused(text))[0] if body.parse_special else tokenizer.encode(text)
    return [*([tokenizer.bos] if body.add_special else []), *ids]


def _unused(text: str) -> str:
    """A character that `text` does not have: a mark that marks nothing."""
    return next(sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in text)


def _pieces(tokenizer: Tokenizer, ids: list[int]) -> list[dict[str, Any]]:
    """Each id with its text, or with its bytes where they are no whole characters, as llama.cpp gives them."""
    pieces: list[dict[str, Any]] = []
    engine, letters = tokenizer.engine(), {letter: byte for byte, letter in byte_letters().items()}
    for i in ids:
        name = engine.id_to_token(i) or ""
        special = name in tokenizer.special
        content = name.encode() if special else bytes(letters[letter] for letter in name)
        try:
            pieces.append({"id": i, "piece": content.decode("utf-8")})
        except UnicodeDecodeError:
            pieces.append({"id": i, "piece": list(content)})
    return pieces
