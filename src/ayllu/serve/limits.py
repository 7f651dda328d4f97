"""What one request may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take."""

    body_bytes: int = 1 << 20
    body_seconds: float = 30
    """From the request's first byte until its body is there."""
    upload_bytes: int = 512 << 20
    """Of a form with a file, as in OpenAI's API."""
    upload_seconds: float = 3600
    files_bytes: int = 16 << 30
    """Of all files together."""
    answer_seconds: float = 600
    """In the queue, and then again for the answer, which is cut there."""
