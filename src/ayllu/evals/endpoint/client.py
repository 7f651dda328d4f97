"""An OpenAI-compatible server as a client sees it: its address, the model to ask, and requests that are patient."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from ayllu.lab.error import UserError

TOGETHER = 4
"""Requests under way at a time."""
SECONDS = 600.0
"""How long a single answer may take."""
LARGEST = 64 << 20
"""Bytes of an answer."""
TRIES = 4
PATIENCE = 120.0
"""Most seconds that are waited between two tries, whatever the server asks for."""
IN_A_ROW = 5
"""So many items one after the other without an answer or a refusal: then the server is gone."""
REFUSES = frozenset((400, 413, 422))
"""What a server says of a question that it does not take, such as one that is too long."""
BUSY = frozenset((408, 409, 429, 500, 502, 503, 504))
PREFIXES = ("http://", "https://")
"""How the name of a model begins that is the address of a server."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Reply(Generic[Found]):
    """What a server said to a question: what was found in its answer, or why there is none."""

    found: Found | None
    refused: str = ""
    gone: bool = False
    """Whether that is no refusal of this one question; one that is longer than the model's context is a refusal."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back of a request."""

    status: int
    retry_after: str | None
    body: bytes

    def json(self) -> Any:
        """Its JSON. Raises ValueError where it is none."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


class Endpoint:
    """A server and one of its models."""

    def __init__(self, address: str, *, model: str | None = None, api_key: str | None = None) -> None:
        """Asks the server which models it has. Raises UserError where it is not there, or has not this one."""
        import httpx2

        parts = _parts(address)
        if parts is None or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise UserError(f"{address} is no address of a server: give one such as http://127.0.0.1:8000/v1")
        here = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
        if api_key and parts.scheme == "http" and not here:
            raise UserError(f"the key would travel to {parts.hostname} unencrypted: give an https:// address")
        base = address.rstrip("/")
        self.base = base if parts.path.strip("/") else f"{base}/v1"
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx2.Client(headers=headers, timeout=httpx2.Timeout(SECONDS, connect=10.0))
        self.model = self._find(model)

    def ask(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Found]) -> Reply[Found]:
        """What `read` makes of the answer to a POST about the model."""
        try:
            answer = self._request("POST", path, {"model": self.model, **body})
            if answer.status != 200:
                why = f"status {answer.status}: {_told(answer)}"
                return Reply(None, why, answer.status not in REFUSES)
            return Reply(read(answer.json()))
        except (ValueError, KeyError, IndexError, TypeError):
            return Reply(None, f"its answer to POST {path} is not what OpenAI's API has there", True)
        except OSError as error:
            return Reply(None, str(error), True)

    def ask_all(self, count: int, ask: Callable[[int], Reply[Found]]) -> Iterator[tuple[int, Reply[Found]]]:
        """Number and reply for `count` questions, some at a time, as they come. UserError where the server is gone."""
        silent = 0
        with ThreadPoolExecutor(TOGETHER) as pool:
            queued = iter(range(count))
            under_way: dict[Future[Reply[Found]], int] = {}
            try:
                while True:
                    # A server that is gone is asked nothing new, but what it still says of older questions is kept.
                    while (
                        silent < IN_A_ROW and len(under_way) < TOGETHER and (number := next(queued, None)) is not None
                    ):
                        under_way[pool.submit(ask, number)] = number
                    if not under_way:
                        break
                    for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                        reply = done.result()
                        if silent < IN_A_ROW:
                            silent = silent + 1 if reply.gone else 0
                            why = reply.refused
                        yield under_way.pop(done), reply
            finally:
                for future in under_way:
                    future.cancel()
        if silent >= IN_A_ROW:
            raise UserError(
                f"{self.base} gave no answer to {silent} items in a row ({why}); see to it, "
                "and start again: it goes on from here"
            )

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> _Answer:
        """One request, tried again while the server is busy. Raises OSError where it cannot be reached."""
        import httpx2

        for attempt in range(1, TRIES + 1):
            try:
                answer = self._exchange(method, path, body)
                if answer.status not in BUSY or attempt == TRIES:
                    return answer
                pause = _pause(answer.retry_after, attempt)
            except httpx2.RequestError as error:
                if attempt == TRIES or isinstance(error, httpx2.ConnectError):
                    raise OSError(f"{type(error).__name__}: {error}") from error
                pause = _pause(None, attempt)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> _Answer:
        """One request and its whole answer. OSError where that is too large or dribbles on for too long."""
        until, parts, size = time.monotonic() + SECONDS, [], 0
        with self._client.stream(method, self.base + path, json=body) as answer:
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise OSError(f"its answer is larger than {LARGEST >> 20} MiB")
                if time.monotonic() > until:
                    raise OSError(f"its answer took longer than {SECONDS:g} seconds")
            return _Answer(answer.status_code, answer.headers.get("retry-after"), b"".join(parts))

    def _find(self, wanted: str | None) -> str:
        """The model to ask: the one that is wanted, or the only one that is there."""
        try:
            answer = self._request("GET", "/models")
        except OSError as error:
            raise UserError(f"{self.base} cannot be reached ({error}): start it or mend the address") from error
        if answer.status in (401, 403):
            raise UserError(f"{self.base} wants an API key: name the variable that holds one with --key-variable")
        if answer.status in BUSY:
            raise UserError(f"{self.base} does not answer (status {answer.status}: {_told(answer)}): try again later")
        try:
            entries = answer.json()["data"]
            names = [str(entry["id"]) for entry in entries]
        except (ValueError, KeyError, TypeError):
            entries, names = [], []
        if wanted is not None and (wanted in names or not names):
            return wanted
        if wanted is None and (len(names) == 1 or _alike(entries)):
            return names[0]
        told = ", ".join(names[:20]) or "it names none"
        raise UserError(f"say with --served-model which model of {self.base} is meant (it has: {told})")


def _alike(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a server's entries are one model by several names: all that describes it is the same."""
    told = [{key: value for key, value in entry.items() if key != "id"} for entry in entries]
    return bool(told) and bool(told[0].get("meta") or told[0].get("root")) and all(one == told[0] for one in told)


def _parts(address: str) -> SplitResult | None:
    """An address in parts; None where it cannot be one."""
    try:
        parts = urlsplit(address)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None


def _pause(asked: str | None, attempt: int) -> float:
    try:
        seconds = float(asked or "")
    except ValueError:
        seconds = math.nan
    return min(2.0**attempt if math.isnan(seconds) else max(seconds, 0.0), PATIENCE)


def _told(answer: _Answer) -> str:
    """What an error says of itself, at most 200 characters."""
    try:
        return str(answer.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.body[:800].decode(errors="replace")[:200]


def chat_text(answer: Any) -> str:
    """The text of a chat completion, in one piece or in parts. Raises KeyError, IndexError or TypeError where it is
    none."""
    content = answer["choices"][0]["message"]["content"]
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if not isinstance(content, str | None):
        raise TypeError("its content is no text")
    return content or ""


def is_address(name: str) -> bool:
    """Whether the name of a model is the address of a server."""
    return name.startswith(PREFIXES)
