"""`/v1/files`: upload, list, retrieve, download, delete."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field
from starlette.requests import Request
from starlette.responses import FileResponse

from ayllu.serve.errors import ApiError
from ayllu.serve.files.database import NewerSchema
from ayllu.serve.files.form import Form, read_form
from ayllu.serve.files.store import FileStore, Incoming, NoRoom, StoredFile
from ayllu.serve.limits import Limits
from ayllu.serve.routing.app import App

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
"""What a client may say a file is for, as in OpenAI's API; here it is a label."""
FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
SHORTEST, LONGEST = 3600, 2_592_000
"""Seconds after which a file may expire, as in OpenAI's API; a batch's does after the longest."""
MOST_UPLOADS = 8
"""Uploads at a time."""
Given = TypeVar("Given")


class Files:
    """The routes; the store is opened when it is first needed, so that a home that is only read can be served from."""

    def __init__(self, folder: Path | None, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._opened: FileStore | None = None
        self._uploads = 0
        self.gone: Callable[[FileStore, str], None] = lambda store, file_id: None
        """Told of each file that was deleted or has expired, in a thread."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Whose threads those are."""

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/v1/files", self.upload, methods=["POST"])
        app.add_endpoint("/v1/files", self.listed, methods=["GET"])
        app.add_endpoint("/v1/files/{file_id}", self.retrieve, methods=["GET"])
        app.add_endpoint("/v1/files/{file_id}/content", self.content, methods=["GET"])
        app.add_endpoint("/v1/files/{file_id}", self.delete, methods=["DELETE"])

    async def upload(self, http: Request) -> dict[str, Any]:
        """Keep a file. It is listed when all of it is on disk, and not before."""
        if self._uploads >= MOST_UPLOADS:
            raise ApiError(503, f"{MOST_UPLOADS} files are being uploaded already; try again soon")
        self._uploads += 1
        incoming: list[Incoming] = []
        try:
            with stored():
                store = await self.store()

                def begin() -> Incoming:
                    incoming.append(store.begin())
                    return incoming[0]

                form = await read_form(http, begin)
                purpose, seconds = _purpose(form), _expiry(form)
                file = await asyncio.to_thread(
                    store.keep,
                    incoming[0],
                    owner=owner(http),
                    filename=form.filename or "",
                    purpose=purpose,
                    seconds=seconds,
                )
                incoming.clear()
                return description(file)
        except NoRoom:
            raise ApiError(
                413,
                f"the files of this server may have {self._limits.files_bytes:,} bytes together; delete some",
                param="file",
                code="storage_full",
            ) from None
        finally:
            self._uploads -= 1
            for one in incoming:
                one.drop()

    async def listed(
        self,
        http: Request,
        purpose: str | None = None,
        after: str | None = None,
        limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """The files of whoever asks, the latest first."""
        try:
            files, more = await self.use(
                lambda store: store.all(
                    owner(http), purpose=purpose, after=after, limit=limit, oldest_first=order == "asc"
                )
            )
        except KeyError:
            raise ApiError(404, "after is no file here", param="after") from None
        return page([description(file) for file in files], more)

    async def retrieve(self, http: Request, file_id: str) -> dict[str, Any]:
        """What is known of a file."""
        return description(await self.find(http, file_id))

    async def content(self, http: Request, file_id: str) -> FileResponse:
        """The bytes of a file, as bytes: nothing that a browser would open or run."""
        file = await self.find(http, file_id)
        path = await self.use(lambda store: store.path(file))
        return FileResponse(path, media_type="application/octet-stream", filename=file.filename)

    async def delete(self, http: Request, file_id: str) -> dict[str, Any]:
        """Delete a file."""
        if not await self.use(lambda store: store.delete(file_id, owner(http))):
            raise no_file(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    async def find(self, http: Request, file_id: str) -> StoredFile:
        """The file of that id; ApiError where there is none."""
        found = await self.use(lambda store: store.find(file_id, owner(http)))
        if found is None:
            raise no_file(file_id)
        return found

    async def read(self, owner: str, file_id: str) -> tuple[str, bytes]:
        """Name and content of a file of an owner, for tools of the server; ApiError where there is none."""
        found = await self.use(lambda store: store.find(file_id, owner))
        if found is None:
            raise no_file(file_id)
        content = await self.use(lambda store: store.path(found).read_bytes())
        return found.filename, content

    async def use(self, work: Callable[[FileStore], Given]) -> Given:
        """What `work` makes of the store, in a thread; ApiError where the store cannot be used."""
        with stored():
            store = await self.store()
            return await asyncio.to_thread(work, store)

    async def store(self) -> FileStore:
        """The store, which is opened when it is first needed."""
        if self._folder is None:
            raise ApiError(501, "this server keeps no files: it was started without a home")
        self.loop = asyncio.get_running_loop()
        if self._opened is None:
            store = FileStore(self._folder, most_bytes=self._limits.files_bytes)
            store.gone = lambda file_id: self.gone(store, file_id)
            self._opened = store
        return self._opened


def owner(http: Request) -> str:
    """Whose files a request is about: those of its key; without keys all have the same ones."""
    return str(http.scope.get("state", {}).get("owner", ""))


def description(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI's API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def page(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A part of a list."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def no_file(file_id: str) -> ApiError:
    """That there is no file of this id."""
    return ApiError(404, f"there is no file {file_id[:100]!r}", param="file_id", code="file_not_found")


@contextlib.contextmanager
def stored() -> Iterator[None]:
    """Where the disk or the database says no, an answer that says so in one sentence."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ApiError(507, f"this server cannot keep files: {why}", code="storage_failed") from error
    except NewerSchema as error:
        raise ApiError(507, str(error), code="storage_failed") from error


def _purpose(form: Form) -> str:
    if unknown := [name for name in form.fields if name not in FIELDS]:
        raise ApiError(
            400,
            f"{unknown[0][:100]} is not a parameter that this server knows",
            param=unknown[0][:100],
            code="unknown_parameter",
        )
    purpose = form.one("purpose")
    if purpose is None:
        raise ApiError(400, "purpose is missing", param="purpose", code="missing_required_parameter")
    if purpose not in get_args(Purpose):
        known = ", ".join(get_args(Purpose))
        raise ApiError(400, f"purpose must be one of {known}", param="purpose", code="invalid_value")
    return purpose


def _expiry(form: Form) -> int | None:
    anchor, seconds = form.one("expires_after[anchor]"), form.one("expires_after[seconds]")
    if anchor is None and seconds is None:
        return LONGEST if form.one("purpose") == "batch" else None
    if anchor != "created_at":
        raise ApiError(400, "expires_after.anchor must be created_at", param="expires_after", code="invalid_value")
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or not SHORTEST <= int(seconds) <= LONGEST:
        raise ApiError(
            400,
            f"expires_after.seconds must be from {SHORTEST} to {LONGEST}",
            param="expires_after",
            code="invalid_value",
        )
    return int(seconds)
