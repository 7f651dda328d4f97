"""All that watches a server, in one place: the gateway and the queues tell it what happens."""

from __future__ import annotations

from collections.abc import Mapping

from ayllu.serve.access.request import RequestContext
from ayllu.serve.operations.course import Course
from ayllu.serve.operations.metrics import Metrics
from ayllu.serve.operations.request_log import RequestLog
from ayllu.serve.operations.tracing import Tracing
from ayllu.serve.served import Models


class Operations:
    """Metrics, which are always there, and a log and traces where they are wanted."""

    def __init__(self, models: Models, *, log: RequestLog | None = None, tracing: Tracing | None = None) -> None:
        self.metrics, self.log, self.tracing = Metrics(models), log or RequestLog(), tracing
        models.watch(self.answered, keep_text=self.log.prompts)

    def opened(self, context: RequestContext, headers: Mapping[str, str]) -> None:
        """A request has begun."""
        self.metrics.opened()
        if self.tracing is not None:
            self.tracing.opened(context, headers)

    def closed(self, context: RequestContext) -> None:
        """A request has ended; its answers were told before."""
        self.metrics.closed(context)
        self.log.closed(context)
        if self.tracing is not None:
            self.tracing.closed(context)

    def answered(self, course: Course) -> None:
        """An answer has ended."""
        self.metrics.answered(course)
        self.log.answered(course)
        if self.tracing is not None:
            self.tracing.answered(course)

    def close(self) -> None:
        """Send what has not been sent yet."""
        if self.tracing is not None:
            self.tracing.close()
