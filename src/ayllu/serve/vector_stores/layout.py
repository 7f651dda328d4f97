"""Vector stores as OpenAI's API shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ayllu.serve.vector_stores.catalogue import StoreFile, VectorStore


def counts(files: Sequence[StoreFile]) -> dict[str, int]:
    """How many files are in which state."""
    found = Counter(file.status for file in files)
    states = {name: found[name] for name in ("in_progress", "completed", "failed", "cancelled")}
    return {**states, "total": len(files)}


def store_as_json(store: VectorStore, files: Sequence[StoreFile]) -> dict[str, Any]:
    """A vector store."""
    counted = counts(files)
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": store.created_at,
        "name": store.name,
        "description": store.description,
        "usage_bytes": sum(file.usage_bytes for file in files),
        "file_counts": counted,
        "status": "expired" if store.expired else "in_progress" if counted["in_progress"] else "completed",
        "expires_after": {"anchor": "last_active_at", "days": store.expires_days} if store.expires_days else None,
        "expires_at": store.expires_at,
        "last_active_at": store.last_active_at,
        "metadata": store.metadata,
        "embedding_model": store.embedder,
    }


def file_as_json(file: StoreFile) -> dict[str, Any]:
    """A file of a vector store."""
    return {
        "id": file.id,
        "object": "vector_store.file",
        "created_at": file.created_at,
        "vector_store_id": file.store,
        "status": file.status,
        "usage_bytes": file.usage_bytes,
        "last_error": file.error,
        "attributes": file.attributes,
        "chunking_strategy": {
            "type": "static",
            "static": {"max_chunk_size_tokens": file.size, "chunk_overlap_tokens": file.overlap},
        },
    }


def batch_as_json(
    batch: str, store: str, created_at: int, cancelled: bool, files: Sequence[StoreFile]
) -> dict[str, Any]:
    """A batch of files."""
    counted = counts(files)
    status = "cancelled" if cancelled else "in_progress" if counted["in_progress"] else "completed"
    if status == "completed" and counted["failed"] == counted["total"]:
        status = "failed"
    return {
        "id": batch,
        "object": "vector_store.files_batch",
        "created_at": created_at,
        "vector_store_id": store,
        "status": status,
        "file_counts": counted,
    }
