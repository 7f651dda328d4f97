"""Whether the server is well, whether it takes requests, and its metrics."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ayllu.serve.errors import ApiError
from ayllu.serve.operations.metrics import Metrics
from ayllu.serve.routing.app import App
from ayllu.serve.served import Models


class Health:
    """What watchdogs, load balancers and scrapers ask for."""

    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models, self._metrics = models, metrics

    def add_to(self, app: App) -> None:
        """Give `app` the routes."""
        app.add_endpoint("/health", self.health)
        app.add_endpoint("/ready", self.ready)
        app.add_endpoint("/metrics", self.metrics)

    async def health(self) -> dict[str, Any]:
        """Whether the server is up, how many the engines answer, and how many wait for them."""
        queues = [served.queue for served in self._models.served]
        return {
            "status": "ok",
            "model": self._models.names[0],
            "running": sum(queue.running for queue in queues),
            "waiting": sum(queue.turns.waiting for queue in queues),
        }

    async def ready(self) -> dict[str, str]:
        """Whether to send requests here: not while no model is loaded, nor when the server is about to end."""
        if self._models.ending:
            raise ApiError(503, "the server is about to end", code="draining")
        if not self._models.served:
            raise ApiError(503, "no model is loaded yet", code="loading")
        return {"status": "ready"}

    async def metrics(self, http: Request) -> Response:
        """All metrics, as Prometheus and OpenMetrics write them."""
        text, media_type = self._metrics.text(http.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
