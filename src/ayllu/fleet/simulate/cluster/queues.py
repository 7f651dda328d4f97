"""Who waits, and who may use how much: the lines before the machines, the queues' quotas, and jobs held back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ayllu.fleet.simulate.cluster.config import Queue
from ayllu.fleet.simulate.cluster.job_states import JobStates
from ayllu.fleet.simulate.job_trace import JobTrace


class WaitingLines:
    """Jobs that wait: in each queue a line for each size, in order of arrival."""

    def __init__(self, queues: int, jobs: JobStates) -> None:
        self.jobs = jobs
        self.lines: list[dict[int, deque[int]]] = [{} for _ in range(queues)]
        self.count = 0

    def append(self, job: int) -> None:
        """Put the job at the end of its line."""
        self.lines[self.jobs.queue[job]].setdefault(self.jobs.size[job], deque()).append(job)
        self.count += 1

    def put_back(self, job: int) -> None:
        """Put a job that ran at the head of its line."""
        self.lines[self.jobs.queue[job]].setdefault(self.jobs.size[job], deque()).appendleft(job)
        self.count += 1

    def pop(self, queue: int, size: int) -> int | None:
        """Take the first of a line that has started; the job behind it, or None where the line is empty now."""
        line = self.lines[queue][size]
        line.popleft()
        self.count -= 1
        if line:
            return line[0]
        del self.lines[queue][size]
        return None

    def any_below(self, size: int) -> bool:
        """Whether a job smaller than `size` waits."""
        return any(each < size for lines in self.lines for each in lines)


class Quotas:
    """Accelerators that each queue owns and uses."""

    def __init__(self, queues: Sequence[Queue], total: int) -> None:
        self.borrows = [queue.borrows for queue in queues]
        self.own = [int(queue.quota * total) for queue in queues]
        self.used = [0] * len(queues)
        self.strict = not all(self.borrows)
        """Whether a queue must wait for its own quota though others leave machines idle."""

    def allows(self, queue: int, size: int) -> bool:
        """Whether the queue may use so many more."""
        return self.borrows[queue] or self.owns(queue, size)

    def owns(self, queue: int, size: int) -> bool:
        """Whether so many more are the queue's own."""
        return self.used[queue] + size <= self.own[queue]

    def borrowed(self, queue: int) -> int:
        """What the queue uses beyond its own; below 0 while it uses less."""
        return self.used[queue] - self.own[queue]


class HeldBackJobs:
    """Jobs that are submitted only when another has started (`JobTrace.after`)."""

    def __init__(self, trace: JobTrace, jobs: JobStates) -> None:
        self.jobs = jobs
        self.after: list[int] = [-1] * len(trace) if trace.after is None else trace.after.tolist()
        self.released: deque[int] = deque()
        self._held: dict[int, list[int]] = {}

    def hold(self, job: int) -> bool:
        """Hold the job back where the one before it has not started; says whether it did."""
        before = self.after[job]
        if before < 0 or self.jobs.started(before):
            return False
        self._held.setdefault(before, []).append(job)
        return True

    def release(self, started: int) -> None:
        """Let go those who waited for the start of that job."""
        if started in self._held:
            self.released.extend(self._held.pop(started))
