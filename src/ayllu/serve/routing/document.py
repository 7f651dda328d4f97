"""The OpenAPI document of an application. FastAPI writes it, from the same signatures that the server reads by."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_origin, get_type_hints

from fastapi import FastAPI, Query

from ayllu.serve.routing.route import ApiRoute


def describe(routes: Sequence[ApiRoute]) -> dict[str, Any]:
    """What `routes` answer, as OpenAPI 3.1."""
    app = FastAPI(title="Ayllu")
    with warnings.catch_warnings():
        # FastAPI names every body `body`, which pydantic says does nothing where a schema is built late.
        warnings.filterwarnings("ignore", "The 'alias' attribute", UserWarning)
        for route in routes:
            # HEAD says what GET does without a body, and both would have one id.
            methods = sorted(set(route.methods or ()) - {"HEAD"})
            given = get_type_hints(route.function).get("return")
            told = given if get_origin(given) is dict else None
            app.add_api_route(route.path, _outline(route), methods=methods, response_model=told)
        return app.openapi()


def _outline(route: ApiRoute) -> Callable[..., Any]:
    """A function that does nothing, with what FastAPI is to tell of the endpoint for a signature."""

    def outline() -> None:
        raise NotImplementedError

    def argument(name: str, hint: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)

    reads = route.reads
    arguments = [argument(name, str) for name in reads.path]
    if reads.body is not None:
        name, model = reads.body
        arguments.append(argument(name, model | None, None) if reads.optional else argument(name, model))
    if reads.query is not None:
        arguments.append(argument("query", Annotated[reads.query, Query()]))
    outline.__name__, outline.__doc__ = route.function.__name__, route.function.__doc__
    outline.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    return outline
