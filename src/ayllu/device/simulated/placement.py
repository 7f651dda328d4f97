"""Where a stage runs, chosen for each turn: on the device or on the server, from what each has cost so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ayllu.device.simulated.body import Body

Stage = Literal["hearing", "speaking"]
"""From sound to text, and from text to sound."""
Place = Literal["device", "server"]
PLACES: tuple[Place, Place] = ("device", "server")

LOW = 0.15
"""Below this part of the battery joules decide, and not seconds."""
WEIGHT = 0.3
"""Of the newest measurement in the moving mean."""
AGAIN = 10
"""After so many turns the place that was not chosen is tried once, for what it costs may have changed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage took in one turn: seconds until its result was there, and joules of the device."""

    seconds: float
    joules: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where a stage runs in a turn, and why."""

    stage: Stage
    place: Place
    why: str

    def body(self) -> dict[str, str]:
        """As it is shown."""
        return {"stage": self.stage, "place": self.place, "why": self.why}


@dataclass
class Placement:
    """Chooses. `can` are the stages that the device has the models for."""

    can: frozenset[Stage]
    costs: dict[tuple[Stage, Place], Cost] = field(default_factory=dict)
    _since: dict[Stage, int] = field(default_factory=dict)

    def choose(self, stage: Stage, body: Body) -> Choice:
        """The place of a stage in the next turn."""
        if stage not in self.can:
            return Choice(stage=stage, place="server", why="the device has no model for it")
        if body.hot:
            return Choice(stage=stage, place="server", why=f"the device has {body.degrees:.0f} °C")
        unknown = [place for place in PLACES if (stage, place) not in self.costs]
        if unknown:
            return Choice(stage=stage, place=unknown[0], why="not measured yet")
        device, server = (self.costs[stage, place] for place in PLACES)
        if body.charge < LOW:
            place: Place = "device" if device.joules < server.joules else "server"
            why = f"{body.charge:.0%} of the battery: {device.joules:.2f} J here, {server.joules:.2f} J there"
        else:
            place = "device" if device.seconds < server.seconds else "server"
            why = f"{1000 * device.seconds:.0f} ms here, {1000 * server.seconds:.0f} ms there"
        self._since[stage] = self._since.get(stage, 0) + 1
        if self._since[stage] > AGAIN and body.charge >= LOW:
            self._since[stage] = 0
            place, why = PLACES[place == "device"], f"to measure it again ({why})"
        return Choice(stage=stage, place=place, why=why)

    def measured(self, stage: Stage, place: Place, cost: Cost) -> None:
        """Take what a stage has cost into its moving mean."""
        before = self.costs.get((stage, place), cost)
        self.costs[stage, place] = Cost(
            seconds=before.seconds + WEIGHT * (cost.seconds - before.seconds),
            joules=before.joules + WEIGHT * (cost.joules - before.joules),
        )

    def shown(self) -> list[dict[str, Any]]:
        """What each place has cost, as it is shown."""
        return [
            {"stage": stage, "place": place, "ms": round(1000 * cost.seconds), "joules": round(cost.joules, 3)}
            for (stage, place), cost in sorted(self.costs.items())
        ]
