"""The bodies of OpenAI's vector stores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from ayllu.serve.vector_stores.filters import Filter

MOST_FILES = 2000
"""Files of one request, as in OpenAI's API."""
Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Key = Annotated[StrictStr, Field(max_length=64)]
Metadata = Annotated[dict[Key, Annotated[StrictStr, Field(max_length=512)]], Field(max_length=16)]
Attributes = Annotated[
    dict[Key, Annotated[StrictStr, Field(max_length=512)] | StrictBool | StrictInt | Finite],
    Field(max_length=16),
]
QueryText = Annotated[StrictStr, Field(min_length=1, max_length=8192)]
FileIds = Annotated[list[StrictStr], Field(min_length=1, max_length=MOST_FILES)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class StaticChunks(_Strict):
    """How long chunks are, and how much of the one before each begins with."""

    max_chunk_size_tokens: StrictInt = Field(ge=100, le=4096)
    chunk_overlap_tokens: StrictInt = Field(ge=0)

    @model_validator(mode="after")
    def _half(self) -> StaticChunks:
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise ValueError("chunk_overlap_tokens may be at most half of max_chunk_size_tokens")
        return self


# Not validated: that would build the schema while a server starts.
AUTO = StaticChunks.model_construct(max_chunk_size_tokens=800, chunk_overlap_tokens=400)
"""What `auto` means, as in OpenAI's API; tokens are those of the embedder."""


class AutoStrategy(_Strict):
    """`AUTO`."""

    type: Literal["auto"]


class StaticStrategy(_Strict):
    """Lengths of one's own."""

    type: Literal["static"]
    static: StaticChunks


Strategy = Annotated[AutoStrategy | StaticStrategy, Field(discriminator="type")]


def lengths(strategy: AutoStrategy | StaticStrategy | None) -> StaticChunks:
    """The lengths of a strategy."""
    return strategy.static if isinstance(strategy, StaticStrategy) else AUTO


class ExpiresAfter(_Strict):
    """When a store that nobody uses is no more."""

    anchor: Literal["last_active_at"]
    days: StrictInt = Field(ge=1, le=365)


class CreateStore(_Strict):
    """`POST /v1/vector_stores`."""

    name: StrictStr | None = Field(None, max_length=256)
    description: StrictStr | None = Field(None, max_length=512)
    file_ids: Annotated[list[StrictStr], Field(max_length=MOST_FILES)] | None = None
    chunking_strategy: Strategy | None = None
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None


class ModifyStore(_Strict):
    """`POST /v1/vector_stores/{id}`: what is there is changed, null takes it away."""

    name: StrictStr | None = Field(None, max_length=256)
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None


class AddFile(_Strict):
    """`POST /v1/vector_stores/{id}/files`, and an entry of a batch."""

    file_id: StrictStr
    attributes: Attributes | None = None
    chunking_strategy: Strategy | None = None


class ModifyFile(_Strict):
    """`POST /v1/vector_stores/{id}/files/{file}`."""

    attributes: Attributes | None


class AddBatch(_Strict):
    """`POST /v1/vector_stores/{id}/file_batches`."""

    file_ids: FileIds | None = None
    files: Annotated[list[AddFile], Field(min_length=1, max_length=MOST_FILES)] | None = None
    attributes: Attributes | None = None
    chunking_strategy: Strategy | None = None

    @model_validator(mode="after")
    def _either(self) -> AddBatch:
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("give either file_ids or files")
        if self.files is not None and (self.attributes is not None or self.chunking_strategy is not None):
            raise ValueError("attributes and chunking_strategy go with file_ids; give them in each of files")
        return self

    def entries(self) -> list[AddFile]:
        """One for each file."""
        if self.files is not None:
            return self.files
        given: dict[str, Any] = {"attributes": self.attributes, "chunking_strategy": self.chunking_strategy}
        return [AddFile(file_id=one, **given) for one in self.file_ids or ()]


class HybridSearch(_Strict):
    """How much both rankings weigh."""

    embedding_weight: float = Field(ge=0, le=1000, allow_inf_nan=False)
    text_weight: float = Field(ge=0, le=1000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one(self) -> HybridSearch:
        if not self.embedding_weight and not self.text_weight:
            raise ValueError("one of embedding_weight and text_weight must be above 0")
        return self


class RankingOptions(_Strict):
    """`none` ranks by the vectors alone, the others by words and vectors."""

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    hybrid_search: HybridSearch | None = None


class SearchBody(_Strict):
    """`POST /v1/vector_stores/{id}/search`."""

    query: QueryText | Annotated[list[QueryText], Field(min_length=1, max_length=16)]
    filters: Filter | None = None
    max_num_results: StrictInt = Field(10, ge=1, le=50)
    ranking_options: RankingOptions = Field(default_factory=lambda: RankingOptions.model_validate({}))
    rewrite_query: Literal[False] = False
    """A query is taken as it is: nothing here rewrites it."""

    @property
    def queries(self) -> list[str]:
        """The queries."""
        return [self.query] if isinstance(self.query, str) else self.query
