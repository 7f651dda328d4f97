"""The bodies of OpenAI's embeddings and of Cohere's and Jina's rerank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, field_validator

MOST_INPUTS = 2048
"""Texts of one request, as in OpenAI's API."""


class EmbeddingBody(BaseModel):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: str | None = None
    """None takes the first that embeds."""
    input: list[StrictStr] | list[list[StrictInt]]
    """Several texts or lists of ids of the model's own; a single one may stand without the list around it."""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None

    @field_validator("input", mode="wrap")
    @classmethod
    def _inputs(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        single = isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int))
        try:
            inputs = check([value] if single else value)
        except ValidationError:
            raise ValueError("give a text, a list of ids, or a list of either") from None
        if not 1 <= len(inputs) <= MOST_INPUTS:
            raise ValueError(f"there are {len(inputs)} texts; give 1 to {MOST_INPUTS}")
        if not all(inputs):
            raise ValueError("there is an empty text; leave it out")
        return inputs

    @field_validator("encoding_format", mode="before")
    @classmethod
    def _default(cls, value: Any) -> Any:
        return "float" if value is None else value


class Document(BaseModel):
    """A document as an object, as Jina's and Cohere's clients may send it."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
    text: StrictStr


class RerankBody(BaseModel):
    """`POST /v1/rerank`."""

    model_config = ConfigDict(extra="forbid", defer_build=True)
    model: str | None = None
    query: StrictStr = Field(min_length=1)
    documents: list[StrictStr | Document] = Field(min_length=1, max_length=1000)
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = True
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [one if isinstance(one, str) else one.text for one in self.documents]
