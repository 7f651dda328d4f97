"""Routes that are only read, by GET and by HEAD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI


def add_get(app: FastAPI, path: str, endpoint: Callable[..., Any], *, described: bool = True, **options: Any) -> None:
    """Answer GET and HEAD at `path`; one operation in the schema, since both would have one id."""
    app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=described, **options)
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False, **options)
