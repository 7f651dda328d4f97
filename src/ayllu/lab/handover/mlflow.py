"""MLflow: runs are sent to a tracking server by its REST API, for which its package is not needed."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from ayllu.lab.error import UserError
from ayllu.lab.handover.runs import Handed
from ayllu.lab.visible import visible

METRICS, PARAMS = 1000, 100
"""Most of one request to log-batch."""
LONGEST = 6000
"""Letters of a parameter's value."""
SECONDS = 60
STATUS = {"finished": "FINISHED", "running": "RUNNING", "failed": "FAILED"}
_ODD = re.compile(r"[^!-~]")
NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def send(runs: Sequence[Handed], server: str, experiment: str) -> list[str]:
    """Send runs to the tracking server at `server`: MLflow's ids of them. One that is whole there is not sent again.

    Raises UserError where the server does not answer, or refuses something.
    """
    if not _is_address(server):
        said = visible(server, longest=200)
        raise UserError(f"{said!r} is no address of an MLflow server; give one such as http://127.0.0.1:5000")
    api = _Api(f"{server.rstrip('/')}/api/2.0/mlflow")
    try:
        number = api.experiment(experiment)
        return [api.known(number, run.key) or api.send(number, run) for run in runs]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{server} answers, but not as MLflow does; is `mlflow server` there?") from error


def _is_address(server: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(server)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not _ODD.search(server)
        )
    except ValueError:
        return False


class _Api:
    def __init__(self, base: str) -> None:
        self._base = base

    def experiment(self, name: str) -> str:
        """The number of the experiment of that name, which is made where it is not there."""
        asked = urllib.parse.urlencode({"experiment_name": name})
        found = self._call(f"experiments/get-by-name?{asked}", missing=True)
        return str(
            found["experiment"]["experiment_id"]
            if found
            else self._call("experiments/create", name=name)["experiment_id"]
        )

    def known(self, experiment: str, key: str) -> str | None:
        """The id of a run that was sent before; one that was cut short is removed."""
        same = f"tags.`ayllu.key` = '{key}'"
        asked: dict[str, Any] = {"experiment_ids": [experiment], "filter": same, "max_results": 10}
        whole = None
        for run in self._call("runs/search", **asked).get("runs", ()):
            if run["info"]["status"] == "FINISHED":
                whole = str(run["info"]["run_id"])
            else:
                self._call("runs/delete", run_id=run["info"]["run_id"])
        return whole

    def send(self, experiment: str, run: Handed) -> str:
        tags = [{"key": f"ayllu.{name}", "value": value} for name, value in run.tags.items()]
        began = self._call(
            "runs/create", experiment_id=experiment, run_name=run.name, start_time=_ms(run.started), tags=tags
        )
        id = str(began["run"]["info"]["run_id"])
        params = [{"key": _name(name), "value": _value(value)} for name, value in run.settings.items()]
        for part in _parts(params, PARAMS):
            self._call("runs/log-batch", run_id=id, params=part)
        metrics = [
            {"key": _name(name), "value": value, "timestamp": _ms(point.time), "step": point.step}
            for point in run.points
            for name, value in point.values.items()
        ]
        # Figures of the whole have a name of their own: `loss` is a curve already.
        metrics += [
            {"key": _name(f"final/{name}"), "value": value, "timestamp": _ms(run.ended), "step": 0}
            for name, value in run.figures.items()
        ]
        for part in _parts(metrics, METRICS):
            self._call("runs/log-batch", run_id=id, metrics=part)
        # What is not finished here is not finished there: later it is sent again, whole.
        status = STATUS.get(run.tags.get("state", ""), "KILLED")
        self._call("runs/update", run_id=id, status=status, end_time=_ms(run.ended))
        return id

    def _call(self, path: str, missing: bool = False, **body: Any) -> dict[str, Any]:
        """What the server answers; empty where it has nothing of that name and `missing` allows it."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self._base}/{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:
                found = json.load(reply)
        except urllib.error.HTTPError as error:
            if missing and error.code == 404:
                return {}
            told = visible(error.read(300).decode(errors="replace"))
            raise UserError(f"{self._base} refused {path.partition('?')[0]} ({error.code}): {told}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            told = visible(str(error).strip(), longest=200)
            raise UserError(
                f"{self._base} does not answer as MLflow does ({told}); is `mlflow server` there?"
            ) from None
        return found if isinstance(found, dict) else {}


def _parts(rows: Sequence[dict[str, Any]], most: int) -> list[Sequence[dict[str, Any]]]:
    return [rows[n : n + most] for n in range(0, len(rows), most)]


def _name(text: str) -> str:
    return NOT_IN_NAMES.sub("_", text)[:250]


def _value(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:LONGEST]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
