"""The simulated device's clock, battery and temperature. What each activity takes is a setting, not a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Build:
    """A made-up pair of glasses: give the figures of yours. Watts are beside what it takes while idle."""

    watt_hours: float = 0.6
    idle: float = 0.02
    microphone: float = 0.03
    camera: float = 0.4
    speaker: float = 0.08
    radio: float = 0.15
    """While it sends or receives."""
    processor: float = 0.9
    """While it computes."""
    surroundings: float = 24.0
    """Degrees Celsius."""
    resistance: float = 18.0
    """Degrees that one watt makes in the long run."""
    settling: float = 300.0
    """Seconds in which 63 % of that is reached."""
    hottest: float = 42.0
    """Above this nothing is computed on the device."""


@dataclass
class Body:
    """State that time and work change. Time is the device's own: it passes when somebody says so."""

    build: Build = field(default_factory=Build)
    charge: float = 1.0
    """Part of the battery that is left."""
    temperature: float | None = None
    seconds: float = 0.0
    """Since it was switched on."""
    joules: dict[str, float] = field(default_factory=dict)
    """By activity."""

    def __post_init__(self) -> None:
        if not 0 <= self.charge <= 1:
            raise ValueError("a battery is between 0 and 1 full")
        if self.temperature is None:
            self.temperature = self.build.surroundings

    @property
    def empty(self) -> bool:
        """Whether the battery is used up."""
        return self.charge <= 0

    @property
    def hot(self) -> bool:
        """Whether it is too hot to compute."""
        return self.degrees >= self.build.hottest

    @property
    def degrees(self) -> float:
        """Degrees Celsius."""
        assert self.temperature is not None
        return self.temperature

    def passes(self, seconds: float, **busy: float) -> None:
        """Let time pass; `busy` says how much of it each part worked, in seconds."""
        parts = {"idle": seconds, **busy}
        spent = {name: getattr(self.build, name) * min(time, seconds) for name, time in parts.items()}
        for name, joules in spent.items():
            self.joules[name] = self.joules.get(name, 0.0) + joules
        self.charge = max(0.0, self.charge - sum(spent.values()) / (self.build.watt_hours * HOUR))
        self.seconds += seconds
        if seconds > 0:
            goal = self.build.surroundings + self.build.resistance * sum(spent.values()) / seconds
            # The exact solution of a body with one capacity: steps of any length give the same curve.
            self.temperature = goal + (self.degrees - goal) * 2.718281828459045 ** (-seconds / self.build.settling)

    def shown(self) -> dict[str, float]:
        """As clients tell it."""
        return {
            "battery": round(self.charge, 4),
            "temperature": round(self.degrees, 2),
            "seconds": round(self.seconds, 2),
        }
