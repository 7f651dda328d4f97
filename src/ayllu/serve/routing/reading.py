"""What an endpoint reads of a request, by its signature."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo
from starlette.datastructures import QueryParams
from starlette.requests import Request

from ayllu.serve.errors import NO_OBJECT, ApiError, of_validation
from ayllu.serve.middleware.strict_json import strict_json


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Which argument is what."""

    request: str | None = None
    path: tuple[str, ...] = ()
    body: tuple[str, type[BaseModel]] | None = None
    optional: bool = False
    """Whether a request may leave its body out: then the argument is None."""
    query: type[BaseModel] | None = None
    """Has a field for each argument that is read of the query."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Of the query: by its field, the parameter that may stand there several times."""

    async def arguments(self, request: Request) -> dict[str, Any]:
        """The arguments; ApiError where the request does not have them."""
        found: dict[str, Any] = {name: request.path_params[name] for name in self.path}
        if self.request is not None:
            found[self.request] = request
        if self.query is not None:
            found |= self._of_query(self.query, request.query_params)
        if self.body is not None:
            name, model = self.body
            found[name] = await read_body(model, request, optional=self.optional)
        return found

    def _of_query(self, model: type[BaseModel], given: QueryParams) -> dict[str, Any]:
        values: dict[str, Any] = dict(given)
        values |= {name: given.getlist(name) for name in self.lists.values() if name in given}
        try:
            read = model.model_validate(values)
        except ValidationError as error:
            raise of_validation(error, "query") from None
        return {name: getattr(read, name) for name in model.model_fields}


def reads_of(endpoint: Callable[..., Awaitable[Any]], path: Sequence[str]) -> Reads:
    """What `endpoint` reads of requests to an address with the parameters `path`.

    An argument of the type Request is the request; one that is a pydantic model (or None) is its body, as JSON; one
    with the name of a parameter is that, as text; all others are read of the query, by their names or pydantic's alias.
    """
    hints = get_type_hints(endpoint, include_extras=True)
    request: str | None = None
    body: tuple[str, type[BaseModel]] | None = None
    optional = False
    query: dict[str, Any] = {}
    for name, parameter in inspect.signature(endpoint).parameters.items():
        hint = hints[name]
        models = [one for one in (hint, *get_args(hint)) if inspect.isclass(one) and issubclass(one, BaseModel)]
        if inspect.isclass(hint) and issubclass(hint, Request):
            request = name
        elif models:
            body, optional = (name, models[0]), hint is not models[0]
        elif name not in path:
            query[name] = (hint, ... if parameter.default is parameter.empty else parameter.default)
    return Reads(
        request=request,
        path=tuple(name for name in path if name in hints),
        body=body,
        optional=optional,
        query=create_model("Query", __config__=ConfigDict(extra="ignore"), **query) if query else None,
        lists={name: _alias(hint) or name for name, (hint, _) in query.items() if _is_list(hint)},
    )


async def read_body(model: type[BaseModel], request: Request, *, optional: bool = False) -> Any:
    """The body of a request as `model`, None where it is `optional` and not there; ApiError where it is no such one."""
    sent = await request.body()
    if optional and sent in (b"", b"null"):
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    json_type = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not sent or not json_type:
        raise ApiError(400, NO_OBJECT)
    try:
        value = strict_json(sent)
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error.msg}", code="invalid_json") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise of_validation(error, body=value) from None


def _is_list(hint: Any) -> bool:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(plain) is list


def _alias(hint: Any) -> str | None:
    more = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((one.alias for one in more if isinstance(one, FieldInfo) and one.alias), None)
