"""The machines of a cluster, its queues, and the rules by which jobs run on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ayllu.fleet.simulate.cluster.power import PowerModel
from ayllu.fleet.simulate.job_trace import HOUR
from ayllu.lab.error import UserError


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Who may use how much."""

    name: str
    priority: int
    """Higher goes first."""
    quota: float
    """Part of the cluster that is the queue's own."""
    borrows: bool = True
    """Whether it may use what others leave idle."""
    preempts: bool = False
    """Whether it takes its quota back from those who borrowed."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The machines and the rules. Raises UserError on figures that cannot be."""

    accelerators: int
    queues: tuple[Queue, ...]
    accelerators_per_node: int = 8
    nodes_per_pod: int = 384
    """Nodes with full bandwidth between them (Llama 3: 3,072 GPUs)."""
    failures_per_1000_node_days: float = 3.8
    drain_share: float = 0.37
    """Failures after which the node leaves for repair (Unicron)."""
    repair_days: float = 3.0
    find_seconds: float = 330.0
    """Mean time to find a failure (see training_run.Recovery)."""
    checkpoint_interval: float = 600.0
    """A failed or preempted job loses half of it on average."""
    preempt_after: float = 2 * HOUR
    """A job is preempted only after so long (Meta's research clusters: 2 hours)."""
    across_pods_slowdown: float = 0.03
    """Longer times of a job that spans more pods than it must (assumption)."""
    start_seconds: tuple[float, float] = (0.0, 0.0)
    """Median and log-normal sigma of the time between the decision to start a job and its start."""
    power: PowerModel = field(default_factory=PowerModel)
    power_cap_mw: float | None = None
    power_cap_swing: float = 0.0
    """Part by which the cap falls in the evening, when the grid is short."""
    diurnal_swing: float = 0.01
    """Part by which the speed changes over a day (Llama 3: 1 to 2 % from noon to night)."""

    def __post_init__(self) -> None:
        if self.accelerators < self.accelerators_per_node or self.nodes_per_pod < 1:
            raise UserError(
                f"cluster: {self.accelerators} accelerators are less than one node of {self.accelerators_per_node}"
            )
        if not self.queues or sum(queue.quota for queue in self.queues) > 1 + 1e-9:
            raise UserError("cluster: the quotas of the queues must add up to at most 1")
        if any(queue.quota < 0 for queue in self.queues) or self.failures_per_1000_node_days < 0:
            raise UserError("cluster: quotas and failure rates must not be negative")
