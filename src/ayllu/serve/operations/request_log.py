"""A line for each request and each failure, for people or as JSON; without what was said, unless that is asked for."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from ayllu.lab.visible import visible
from ayllu.serve.access.request import CURRENT, RequestContext
from ayllu.serve.operations.course import Course

LogFormat = Literal["off", "text", "json"]
FORMATS: tuple[LogFormat, ...] = ("off", "text", "json")
LIBRARIES = ("uvicorn.error", "uvicorn", "asyncio")


class RequestLog:
    """Writes to stderr; `prompts` adds what models were asked and said, which is nobody's business otherwise."""

    def __init__(self, form: LogFormat = "off", *, prompts: bool = False) -> None:
        self._form, self.prompts = form, prompts
        self._answers: dict[RequestContext, list[dict[str, Any]]] = {}

    def install(self) -> None:
        """Write what libraries say in the same form."""
        if self._form == "off":
            return
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json() if self._form == "json" else _Text())
        for name in LIBRARIES:
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [handler], False

    def answered(self, course: Course) -> None:
        """Keep what is told of an answer for its request's line."""
        if self._form == "off" or course.context is None:
            return
        told: dict[str, Any] = {
            "model": course.model,
            "prompt_tokens": len(course.request.prompt),
            "generated_tokens": course.tokens,
            "finish_reason": course.finish_reason,
            "queue_seconds": _rounded((course.started or course.ended or course.arrived) - course.arrived),
        }
        if course.first is not None:
            told["first_token_seconds"] = _rounded(course.first - course.arrived)
        if course.said is not None and self.prompts:
            told["prompt"], told["answer"] = course.said
        # Work that goes on behind the answer, and connections of any number of answers.
        if course.context.ended or course.context.method == "WEBSOCKET":
            self._write("answer", course.context, told)
        else:
            self._answers.setdefault(course.context, []).append(told)

    def closed(self, context: RequestContext) -> None:
        """Write the line of a request that has ended."""
        answers = self._answers.pop(context, [])
        if self._form == "off":
            return
        told: dict[str, Any] = {"status": context.status, "seconds": _rounded(context.seconds)}
        if answers:
            told |= answers[0] if len(answers) == 1 else {"answers": answers}
        self._write("request", context, told)

    def _write(self, event: str, context: RequestContext, told: dict[str, Any]) -> None:
        key = {} if context.key is None else {"key": context.key.name}
        head = {"request_id": context.id, "method": context.method, "path": context.path[:500], **key}
        _emit(self._form, "info", event, {**head, **told})


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {"message": record.getMessage()}
        if (context := CURRENT.get()) is not None:
            told["request_id"] = context.id
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return _json(record.levelname.lower(), "log", told)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = CURRENT.get()
        name = "" if context is None else f"{context.id} "
        text = f"{_now()} {record.levelname.lower()} {name}{visible(record.getMessage())}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _emit(form: LogFormat, level: str, event: str, told: dict[str, Any]) -> None:
    if form == "json":
        line = _json(level, event, told)
    else:
        line = f"{_now()} {event} " + " ".join(f"{name}={_plain(value)}" for name, value in told.items())
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _plain(value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and " " not in value and '"' not in value:
        return value
    return json.dumps(value)


def _json(level: str, event: str, told: dict[str, Any]) -> str:
    return json.dumps({"time": _now(), "level": level, "event": event, **told})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _rounded(seconds: float) -> float:
    return round(seconds, 4)
