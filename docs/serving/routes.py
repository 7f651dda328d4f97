"""Routes whose requests the tables of docs/serving/fields.md are about, and how the server reads each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anthropic.types import message_count_tokens_params as message_counts
from anthropic.types import message_create_params as message_params
from openai.types import completion_create_params as text
from openai.types import (
    embedding_create_params,
    file_create_params,
    file_list_params,
    moderation_create_params,
    vector_store_create_params,
    vector_store_list_params,
    vector_store_search_params,
    vector_store_update_params,
)
from openai.types.audio import speech_create_params, transcription_create_params
from openai.types.chat import completion_create_params as chat
from openai.types.conversations import (
    conversation_create_params,
    conversation_update_params,
    item_list_params,
)
from openai.types.responses import (
    input_item_list_params,
    input_token_count_params,
    response_create_params,
    response_retrieve_params,
)
from openai.types.vector_stores import (
    file_batch_create_params,
    file_batch_list_files_params,
)
from openai.types.vector_stores import (
    file_create_params as store_file_params,
)
from openai.types.vector_stores import file_list_params as store_files_params
from openai.types.vector_stores import file_update_params as store_file_update_params
from readers import (
    CHAT_TOOL,
    FIRST,
    read_chat,
    read_file,
    read_items,
    read_messages,
    read_model,
    read_response,
    read_sound,
    read_speech,
    read_text,
    whole_chat,
)
from walk import IGNORED, SUPPORTED, Body, Route, hints

from ayllu.serve.audio import routes as audio
from ayllu.serve.completions.body import ChatBody, TextBody
from ayllu.serve.embeddings.body import EmbeddingBody
from ayllu.serve.files import routes as files
from ayllu.serve.messages.body import CountBody as MessageCountBody
from ayllu.serve.messages.body import MessagesBody
from ayllu.serve.moderations.routes import ModerationBody
from ayllu.serve.responses import body as responses
from ayllu.serve.responses.conversations import Conversations, Description, NewConversation
from ayllu.serve.responses.routes import Responses
from ayllu.serve.vector_stores import body as stores
from ayllu.serve.vector_stores.routes import VectorStores


def whole_response(base: Body, change: Body) -> Body:
    """What a call gave stands behind a call; a choice of tools beside tools."""
    body = base | change
    if "input" in change and isinstance(change["input"], list):
        body["input"] = [RESPONSE_CALL, APPROVAL, *change["input"]]
    if "tool_choice" in change:
        body["tools"] = RESPONSE_TOOLS
    return body


def whole_messages(base: Body, change: Body) -> Body:
    """The same; and the user has the last word."""
    body = base | change
    if "messages" in change:
        body["messages"] = [*base["messages"], MESSAGE_CALL, *change["messages"], *base["messages"]]
    if "tool_choice" in change:
        body["tools"] = [{"name": "x", "input_schema": {"type": "object"}}]
    return body


def whole_batch(base: Body, change: Body) -> Body:
    """Files are given in one way."""
    return ({} if "files" in change else base) | change


RESPONSE_CALL = {"type": "function_call", "call_id": "x", "name": "x", "arguments": "{}"}
APPROVAL = {"type": "mcp_approval_request", "id": "x", "name": "x", "server_label": "x", "arguments": "{}"}
MCP = {"type": "mcp", "server_label": "x", "server_url": "https://x"}
RESPONSE_TOOLS = [
    {"type": "function", "name": "x", "parameters": {}},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "file_search", "vector_store_ids": ["x"]},
    MCP,
]
OUTPUT = {"type": "function_call_output", "call_id": "x", "output": "x"}
MESSAGE_CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "x", "input": {}}]}
SAID = "what an earlier answer carried, not said to the model"
COMPARED = {"(eq).type": "`in` and `nin` with lists, and what is more or less with numbers"}
SHAPE_NOTES = {
    "response_format(json_schema).json_schema.name": "a name for people",
    "response_format(json_schema).json_schema.description": "a description for people",
    "response_format(json_schema).json_schema.strict": "every schema is enforced",
}
ITEM_NOTES = {
    "status": "all that comes is complete",
    "phase": "the models that are served know none",
    "annotations": SAID,
    "logprobs": SAID,
    "async": SAID,
    "caller": "only the model itself calls here",
    "namespace": "tools have none here",
    "name": "the call says it",
    "prompt_cache_breakpoint": "what prompts have in common is found without it",
    "content": "kept as a summary only, which the model is not shown",
    "encrypted_content": "what another model thought is not shown to ours",
}
RESPONSE_FIXED: dict[str, tuple[Any, ...]] = {
    "input[](function_call_output)": (OUTPUT,),
    "tools[](mcp)": (MCP,),
    "value": (1, 2),
    "tools": ([{"type": "function", "name": "x"}], [{"type": "file_search"}]),
}
RESPONSE: dict[str, Any] = {"base": {"input": "x"}, "whole": whole_response, "fixed": RESPONSE_FIXED}
RESPONSE["remarks"] = COMPARED
RESPONSE["notes"] = ITEM_NOTES | {"text.format(json_schema).strict": "every schema is enforced"}
MESSAGES: dict[str, Any] = {"whole": whole_messages}
MESSAGES["notes"] = {
    "toolset_name": "there are no toolsets here",
    **dict.fromkeys(("thinking", "signature", "data"), "what another model thought is not shown to ours"),
}
MESSAGE_BASE = {"model": "x", "messages": [{"role": "user", "content": "x"}]}
STRATEGY = {"max_chunk_size_tokens": (100, 200), "chunk_overlap_tokens": (10, 20)}
SOUND: dict[str, Any] = {"base": {"file": "x.wav", "model": "x"}}
SOUND["fixed"] = {"file": ("x.wav", "y.mp3"), "language": ("en",)}
SOUND["notes"] = {"model": "there is one recogniser"}
SOUND["remarks"] = {"language": "those of the recogniser only"}
ROUTES: tuple[Route, ...] = (
    Route(
        name="POST /v1/chat/completions",
        kind=chat.CompletionCreateParamsStreaming,
        read=read_chat,
        base={"messages": FIRST, "tools": [CHAT_TOOL], "logprobs": True},
        more=ChatBody,
        whole=whole_chat,
        notes=SHAPE_NOTES,
        fixed={"tools": ([CHAT_TOOL], [])},
    ),
    Route(
        name="POST /v1/completions",
        kind=text.CompletionCreateParamsStreaming,
        read=read_text,
        base={"prompt": "x"},
        more=TextBody,
    ),
    Route(
        name="POST /v1/responses",
        kind=response_create_params.ResponseCreateParamsStreaming,
        read=read_response(responses.ResponseBody),
        more=responses.ResponseBody,
        **RESPONSE,
    ),
    Route(
        name="POST /v1/responses/input_tokens",
        kind=input_token_count_params.InputTokenCountParams,
        read=read_response(responses.CountBody),
        more=responses.CountBody,
        like=("POST /v1/responses", "", ""),
        **RESPONSE,
    ),
    Route(
        name="POST /v1/conversations",
        kind=conversation_create_params.ConversationCreateParams,
        read=read_items(NewConversation),
        base={},
        more=NewConversation,
        notes=ITEM_NOTES,
        fixed={"items[](function_call_output)": (OUTPUT,)},
        like=("POST /v1/responses", "items[]", "input[]"),
    ),
    Route(
        name="POST /v1/conversations/{id}",
        kind=conversation_update_params.ConversationUpdateParams,
        read=read_items(Description),
        base={"metadata": {}},
        more=Description,
    ),
    Route(
        name="POST /v1/messages",
        kind=message_params.MessageCreateParamsStreaming,
        read=read_messages(MessagesBody),
        base=MESSAGE_BASE | {"max_tokens": 5},
        more=MessagesBody,
        **MESSAGES,
    ),
    Route(
        name="POST /v1/messages/count_tokens",
        kind=message_counts.MessageCountTokensParams,
        read=read_messages(MessageCountBody),
        base=MESSAGE_BASE,
        more=MessageCountBody,
        like=("POST /v1/messages", "", ""),
        **MESSAGES,
    ),
    Route(
        name="POST /v1/embeddings",
        kind=embedding_create_params.EmbeddingCreateParams,
        read=read_model(EmbeddingBody),
        base={"input": "x"},
        more=EmbeddingBody,
        remarks={"dimensions": "the model's own only"},
    ),
    Route(
        name="POST /v1/moderations",
        kind=moderation_create_params.ModerationCreateParams,
        read=read_model(ModerationBody),
        base={"input": "x"},
        more=ModerationBody,
    ),
    Route(
        name="POST /v1/audio/transcriptions",
        kind=transcription_create_params.TranscriptionCreateParamsStreaming,
        read=read_sound,
        **SOUND,
    ),
    Route(
        name="POST /v1/audio/speech",
        kind=speech_create_params.SpeechCreateParams,
        read=read_speech,
        base={"model": "x", "input": "x", "voice": "x"},
        more=audio.SpeechBody,
    ),
    Route(
        name="POST /v1/files",
        kind=file_create_params.FileCreateParams,
        read=read_file,
        base={"file": "x", "purpose": "assistants"},
        fixed={"file": ("x", "y"), "seconds": (3600, 7200)},
    ),
    Route(
        name="POST /v1/vector_stores",
        kind=vector_store_create_params.VectorStoreCreateParams,
        read=read_model(stores.CreateStore),
        base={},
        more=stores.CreateStore,
        fixed=STRATEGY,
    ),
    Route(
        name="POST /v1/vector_stores/{id}",
        kind=vector_store_update_params.VectorStoreUpdateParams,
        read=read_model(stores.ModifyStore),
        base={},
        more=stores.ModifyStore,
    ),
    Route(
        name="POST /v1/vector_stores/{id}/search",
        kind=vector_store_search_params.VectorStoreSearchParams,
        read=read_model(stores.SearchBody),
        base={"query": "x"},
        more=stores.SearchBody,
        fixed={"value": (1, 2)},
        remarks=COMPARED,
    ),
    Route(
        name="POST /v1/vector_stores/{id}/files",
        kind=store_file_params.FileCreateParams,
        read=read_model(stores.AddFile),
        base={"file_id": "x"},
        more=stores.AddFile,
        fixed=STRATEGY,
    ),
    Route(
        name="POST /v1/vector_stores/{id}/files/{id}",
        kind=store_file_update_params.FileUpdateParams,
        read=read_model(stores.ModifyFile),
        base={"attributes": {}},
        more=stores.ModifyFile,
        apart=frozenset({"vector_store_id"}),
    ),
    Route(
        name="POST /v1/vector_stores/{id}/file_batches",
        kind=file_batch_create_params.FileBatchCreateParams,
        read=read_model(stores.AddBatch),
        base={"file_ids": ["x"]},
        more=stores.AddBatch,
        whole=whole_batch,
        fixed=STRATEGY,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A route that is asked by its address alone."""

    name: str
    kind: Any
    handler: Any
    notes: Mapping[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """As `Walk.rows`: what the handler has no parameter for, it drops."""
        known, found = set(inspect.signature(self.handler).parameters), []
        for name in hints(self.kind):
            if name in APART:
                continue
            why = self.notes.get(name)
            if why is None and name not in known:
                raise ValueError(f"{self.name}: {name} is taken and changes nothing, and nothing says why")
            found.append((name, SUPPORTED if why is None else IGNORED, why or ""))
        return found


APART = ("vector_store_id", "response_id", "conversation_id")
"""What stands in the path."""
INCLUDED = {"include": "what an item has is always there"}
QUERIES = (
    Query(
        name="GET /v1/responses/{id}",
        kind=response_retrieve_params.ResponseRetrieveParamsStreaming,
        handler=Responses.read,
        notes=INCLUDED | {"include_obfuscation": "events are never padded with random characters"},
    ),
    Query(
        name="GET /v1/responses/{id}/input_items",
        kind=input_item_list_params.InputItemListParams,
        handler=Responses.inputs,
        notes=INCLUDED,
    ),
    Query(
        name="GET /v1/conversations/{id}/items",
        kind=item_list_params.ItemListParams,
        handler=Conversations.items,
        notes=INCLUDED,
    ),
    Query(name="GET /v1/files", kind=file_list_params.FileListParams, handler=files.Files.listed, notes={}),
    Query(
        name="GET /v1/vector_stores",
        kind=vector_store_list_params.VectorStoreListParams,
        handler=VectorStores.listed,
        notes={},
    ),
    Query(
        name="GET /v1/vector_stores/{id}/files",
        kind=store_files_params.FileListParams,
        handler=VectorStores.files,
        notes={},
    ),
    Query(
        name="GET /v1/vector_stores/{id}/file_batches/{id}/files",
        kind=file_batch_list_files_params.FileBatchListFilesParams,
        handler=VectorStores.batch_files,
        notes={},
    ),
)
