"""`/v1/conversations`: items that several responses share."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from ayllu.serve.errors import ApiError
from ayllu.serve.responses.body import Metadata, is_id
from ayllu.serve.responses.items import GivenItem, kept_item, new_id
from ayllu.serve.responses.responder import no_conversation
from ayllu.serve.responses.routes import AlsoInclude, Include, Limit, Order, listed, listing, owner_of, page_of
from ayllu.serve.routing.app import App
from ayllu.serve.state.items import Item, Missing
from ayllu.serve.state.keeper import Keeper

MOST_ITEMS = 20
"""Items that one request may add, as in OpenAI's API."""
Items = Annotated[list[GivenItem], Field(max_length=MOST_ITEMS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class NewConversation(_Body):
    """`POST /v1/conversations`."""

    items: Items | None = None
    metadata: Metadata | None = None


class Description(_Body):
    """`POST /v1/conversations/{name}`."""

    metadata: Metadata | None


class NewItems(_Body):
    """`POST /v1/conversations/{name}/items`."""

    items: Annotated[Items, Field(min_length=1)]


class Conversations:
    """The routes, and what they share."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        one, items = "/v1/conversations/{name}", "/v1/conversations/{name}/items"
        app.add_endpoint("/v1/conversations", self.create, methods=["POST"])
        app.add_endpoint(one, self.read, methods=["GET"])
        app.add_endpoint(one, self.describe, methods=["POST"])
        app.add_endpoint(one, self.delete, methods=["DELETE"])
        app.add_endpoint(items, self.items, methods=["GET"])
        app.add_endpoint(items, self.add_items, methods=["POST"])
        app.add_endpoint(f"{items}/{{item}}", self.item, methods=["GET"])
        app.add_endpoint(f"{items}/{{item}}", self.delete_item, methods=["DELETE"])

    async def create(self, http: Request, body: NewConversation | None = None) -> dict[str, Any]:
        """Begin a conversation."""
        body = body or NewConversation()
        name, created, metadata = new_id("conv"), int(time.time()), body.metadata or {}
        store = self._keeper.store("conversations")
        items = _kept(body.items or [])
        await self._keeper.run(store.create_conversation, name, created, metadata, items, owner=owner_of(http))
        return _shown(name, created, metadata)

    async def read(self, name: str, http: Request) -> dict[str, Any]:
        """A conversation."""
        return _shown(name, *await self._mine(name, http))

    async def describe(self, name: str, body: Description, http: Request) -> dict[str, Any]:
        """Give a conversation other metadata."""
        await self._mine(name, http)
        found = await self._keeper.run(self._keeper.store().describe_conversation, name, body.metadata or {})
        if found is None:
            raise no_conversation(name)
        return _shown(name, *found)

    async def delete(self, name: str, http: Request) -> dict[str, Any]:
        """Forget a conversation and its items."""
        await self._mine(name, http)
        await self._keeper.run(self._keeper.store().delete_conversation, name)
        return {"id": name, "object": "conversation.deleted", "deleted": True}

    async def items(
        self,
        name: str,
        http: Request,
        limit: Limit = 20,
        order: Order = "desc",
        after: str | None = None,
        include: Include = [],  # noqa: B006
        also_include: AlsoInclude = [],  # noqa: B006
    ) -> dict[str, Any]:
        """A part of a conversation's items."""
        await self._mine(name, http)
        page = page_of(limit, order, after)
        return await listed(self._keeper.run(self._keeper.store().conversation_page, name, page))

    async def add_items(self, name: str, body: NewItems, http: Request) -> dict[str, Any]:
        """Add items to the end of a conversation."""
        await self._mine(name, http)
        items = _kept(body.items)
        try:
            await self._keeper.run(self._keeper.store().add_items, name, items)
        except Missing:
            raise no_conversation(name) from None
        return listing(items, False)

    async def item(self, name: str, item: str, http: Request) -> dict[str, Any]:
        """One item of a conversation."""
        await self._mine(name, http)
        found = None
        if is_id(item):
            found = await self._keeper.run(self._keeper.store().conversation_item, name, item)
        if found is None:
            raise _no_item(item)
        return found

    async def delete_item(self, name: str, item: str, http: Request) -> dict[str, Any]:
        """Take an item out of a conversation; gives the conversation."""
        found = await self._mine(name, http)
        if not is_id(item) or not await self._keeper.run(self._keeper.store().delete_item, name, item):
            raise _no_item(item)
        return _shown(name, *found)

    async def _mine(self, name: str, http: Request) -> tuple[int, dict[str, str]]:
        """A conversation of whoever asks; ApiError where there is none."""
        store = self._keeper.store("conversations")
        found = await self._keeper.run(store.conversation, name, owner=owner_of(http)) if is_id(name) else None
        if found is None:
            raise no_conversation(name)
        return found


def _kept(items: list[Any]) -> list[Item]:
    found = [kept_item(item) for item in items]
    if any(item["type"] == "item_reference" for item in found):
        raise ApiError(
            400, "items: a conversation holds items themselves; give the item in place of its id", param="items"
        )
    return found


def _shown(name: str, created: int, metadata: dict[str, str]) -> dict[str, Any]:
    return {"id": name, "object": "conversation", "created_at": created, "metadata": metadata}


def _no_item(name: str) -> ApiError:
    return ApiError(404, f"item with id '{name[:200]}' not found", code="not_found")
