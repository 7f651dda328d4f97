"""`/v1/containers`: create, list, retrieve, delete, and the files in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ayllu.serve.containers.kept import WORK, ContainerFile, Containers, ContainerState
from ayllu.serve.errors import ApiError
from ayllu.serve.files.form import read_form
from ayllu.serve.files.routes import Files, owner, page
from ayllu.serve.routing.app import App

FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Limit = Annotated[int, Field(ge=1, le=100)]
Order = Literal["asc", "desc"]
MOST_GONE = 1000
"""Of removed files so many places in lists are known: a client that removes what it lists goes on behind them."""
Shown = TypeVar("Shown", ContainerState, ContainerFile)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class Expiry(_Strict):
    """When a container ends."""

    anchor: Literal["last_active_at"]
    minutes: int = Field(ge=1, le=20)


class NoNetwork(_Strict):
    """The only network policy there is here."""

    type: Literal["disabled"]


class NewContainer(_Strict):
    """`POST /v1/containers`."""

    name: str = Field(min_length=1, max_length=256)
    expires_after: Expiry | None = None
    file_ids: list[FileId] = Field([], max_length=50)
    memory_limit: Literal["1g"] | None = None
    """The only size there is here."""
    network_policy: NoNetwork | None = None


class FileReference(_Strict):
    """`POST /v1/containers/{name}/files` without a form."""

    file_id: FileId


class _Upload:
    """The bytes of a form's file, as many as a container takes."""

    def __init__(self, most: int) -> None:
        self.data, self._most = bytearray(), most

    def write(self, data: bytes) -> None:
        if len(self.data) + len(data) > self._most:
            raise ApiError(413, f"a file of a container has at most {self._most:,} bytes", param="file")
        self.data += data


class ContainerRoutes:
    """The routes; without `containers` they say how to have some."""

    def __init__(self, containers: Containers | None, files: Files, *, most_bytes: int) -> None:
        self._kept, self._files, self._most = containers, files, most_bytes
        self._gone: OrderedDict[str, ContainerFile] = OrderedDict()

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        one, files = "/v1/containers/{name}", "/v1/containers/{name}/files"
        app.add_endpoint("/v1/containers", self.create, methods=["POST"])
        app.add_endpoint("/v1/containers", self.listed, methods=["GET"])
        app.add_endpoint(one, self.retrieve, methods=["GET"])
        app.add_endpoint(one, self.delete, methods=["DELETE"])
        app.add_endpoint(files, self.put, methods=["POST"])
        app.add_endpoint(files, self.files, methods=["GET"])
        app.add_endpoint(f"{files}/{{file_id}}", self.file, methods=["GET"])
        app.add_endpoint(f"{files}/{{file_id}}/content", self.content, methods=["GET"])
        app.add_endpoint(f"{files}/{{file_id}}", self.remove, methods=["DELETE"])

    async def create(self, body: NewContainer, http: Request) -> dict[str, Any]:
        """Make a container with files of the client in it."""
        kept = self._containers
        files = dict([await self._files.read(owner(http), number) for number in body.file_ids])
        minutes = body.expires_after.minutes if body.expires_after is not None else 20
        with _refusals("file_ids"):
            return _container(kept.create(owner(http), body.name, minutes, files))

    async def listed(
        self,
        http: Request,
        after: str | None = None,
        limit: Limit = 20,
        order: Order = "desc",
        name: str | None = None,
    ) -> dict[str, Any]:
        """The containers of whoever asks."""
        found = [one for one in self._containers.all(owner(http)) if name in (None, one.name)]
        data, more = _part(found, after, limit, order)
        return page([_container(one) for one in data], more)

    async def retrieve(self, name: str, http: Request) -> dict[str, Any]:
        """A container."""
        with _missing(name):
            return _container(self._containers.state(owner(http), name))

    async def delete(self, name: str, http: Request) -> dict[str, Any]:
        """End a container."""
        with _missing(name):
            self._containers.delete(owner(http), name)
        return {"id": name, "object": "container.deleted", "deleted": True}

    async def put(self, name: str, http: Request) -> dict[str, Any]:
        """Put a file into a container: that of a form, or by its id one of `/v1/files`."""
        with _missing(name):
            self._containers.state(owner(http), name)
        path, content = await self._given(http)
        with _missing(name), _refusals("file"):
            return _file(name, self._containers.put(owner(http), name, path, content))

    async def files(
        self, name: str, http: Request, after: str | None = None, limit: Limit = 20, order: Order = "desc"
    ) -> dict[str, Any]:
        """The files of a container, as the last program left them."""
        with _missing(name):
            found = self._containers.files(owner(http), name)
        if after is not None and after in self._gone and all(one.id != after for one in found):
            found = sorted([*found, self._gone[after]], key=lambda one: (one.created, one.path))
        data, more = _part(found, after, limit, order)
        return page([_file(name, one) for one in data], more)

    async def file(self, name: str, file_id: str, http: Request) -> dict[str, Any]:
        """What is known of a file."""
        return _file(name, self._find(name, file_id, http))

    async def content(self, name: str, file_id: str, http: Request) -> Response:
        """The bytes of a file, as bytes: nothing that a browser would open or run."""
        found = self._find(name, file_id, http)
        with _missing(name):
            content = self._containers.content(owner(http), name, found.path)
        headers = {"Content-Disposition": "attachment"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def remove(self, name: str, file_id: str, http: Request) -> dict[str, Any]:
        """Take a file out of a container."""
        found = self._find(name, file_id, http)
        with _missing(name):
            await self._containers.remove(owner(http), name, found.path)
        self._gone[file_id] = found
        while len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
        return {"id": file_id, "object": "container.file.deleted", "deleted": True}

    @property
    def _containers(self) -> Containers:
        if self._kept is None:
            raise ApiError(501, "this server runs no programs; start it with `ayllu serve --tools`")
        return self._kept

    async def _given(self, http: Request) -> tuple[str, bytes]:
        if http.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
            try:
                reference = FileReference.model_validate_json(await http.body())
            except ValueError:
                raise ApiError(400, "give a form with a file, or a file_id", param="file_id") from None
            return await self._files.read(owner(http), reference.file_id)
        upload = _Upload(self._most)
        form = await read_form(http, lambda: upload, required=False)
        file_id = form.one("file_id")
        if unknown := [field for field in form.fields if field != "file_id"]:
            raise ApiError(400, f"{unknown[0][:100]} is not a parameter that this server knows", param=unknown[0][:100])
        if (form.filename is None) == (file_id is None):
            raise ApiError(400, "give either a file or a file_id", param="file")
        if file_id is not None:
            return await self._files.read(owner(http), file_id)
        return form.filename or "", bytes(upload.data)

    def _find(self, name: str, file_id: str, http: Request) -> ContainerFile:
        with _missing(name):
            found = next((one for one in self._containers.files(owner(http), name) if one.id == file_id), None)
        if found is None:
            raise ApiError(404, f"no file {file_id[:200]!r} in this container", code="not_found")
        return found


@contextmanager
def _missing(name: str) -> Iterator[None]:
    try:
        yield
    except KeyError:
        raise ApiError(404, f"container with id '{name[:200]}' not found", code="not_found") from None


@contextmanager
def _refusals(param: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ApiError(400, f"{param}: {error}", param=param) from None


def _part(found: Sequence[Shown], after: str | None, limit: int, order: Order) -> tuple[list[Shown], bool]:
    """A part of a list that is in the order of time; ApiError where `after` is none of it."""
    ordered = list(found) if order == "asc" else list(reversed(found))
    if after is not None:
        place = next((number for number, one in enumerate(ordered) if one.id == after), None)
        if place is None:
            raise ApiError(404, "after is nothing of this list", param="after")
        ordered = ordered[place + 1 :]
    return ordered[:limit], len(ordered) > limit


def _container(state: ContainerState) -> dict[str, Any]:
    return {
        "id": state.id,
        "object": "container",
        "created_at": state.created,
        "name": state.name,
        "status": "running",
        "last_active_at": state.active,
        "expires_after": {"anchor": "last_active_at", "minutes": state.minutes},
        "memory_limit": "1g",
        "network_policy": {"type": "disabled"},
    }


def _file(container: str, file: ContainerFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "container.file",
        "bytes": file.size,
        "container_id": container,
        "created_at": file.created,
        "path": f"{WORK}/{file.path}",
        "source": "user" if file.by_user else "assistant",
    }
