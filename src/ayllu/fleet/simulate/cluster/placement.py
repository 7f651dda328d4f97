"""Where jobs go: whole nodes counted by pod, and parts of nodes shared by small jobs.

Only counters are kept, one for each pod, so a fleet of 600,000 accelerators costs no more than one of 600.
"""

from __future__ import annotations

Held = int | list[tuple[int, int]] | tuple[int]
"""What a job holds: nodes of one pod (its number), of several (pod, nodes), or part of a shared node (number,)."""


class Placement:
    """Free nodes of every pod and free places on shared nodes."""

    def __init__(self, nodes: int, per_pod: int, per_node: int) -> None:
        full, rest = divmod(nodes, per_pod)
        self.size = [per_pod] * full + ([rest] if rest else [])
        self.free = list(self.size)
        self.per_node = per_node
        self.free_nodes = nodes
        self.nodes = nodes
        self.largest = max(self.size)
        self._pointer = 0
        self._shared_free: list[int] = []
        self._shared_pod: list[int] = []
        self._unused: list[int] = []
        self._buckets: list[list[int]] = [[] for _ in range(per_node + 1)]

    def nodes_for(self, accelerators: int) -> int:
        """Whole nodes that a job takes; 0 when it shares one."""
        return 0 if accelerators < self.per_node else -(-accelerators // self.per_node)

    def take_nodes(self, count: int) -> Held | None:
        """Hold `count` whole nodes, in the fullest pod that has them or in as few pods as possible; None if too few."""
        if count > self.free_nodes:
            return None
        free = self.free
        if count <= self.largest:
            pod = self._pod_for(count)
            if pod >= 0:
                free[pod] -= count
                self.free_nodes -= count
                return pod
        parts: list[tuple[int, int]] = []
        left = count
        for pod in sorted(range(len(free)), key=free.__getitem__, reverse=True):
            taken = min(free[pod], left)
            free[pod] -= taken
            parts.append((pod, taken))
            left -= taken
            if not left:
                break
        self.free_nodes -= count
        return parts

    def _pod_for(self, count: int) -> int:
        free = self.free
        # Small jobs fill one pod after the other, so that whole pods stay free for large ones.
        if count <= 4:
            if free[self._pointer] >= count:
                return self._pointer
            for pod, left in enumerate(free):
                if left >= count:
                    self._pointer = pod
                    return pod
            return -1
        best, found = self.largest + 1, -1
        for pod, left in enumerate(free):
            if count <= left < best:
                best, found = left, pod
                if left == count:
                    break
        return found

    def take_part(self, accelerators: int) -> Held | None:
        """Hold part of a node: on the fullest shared node that has room, else on a new one; None if there is none."""
        shared_free, buckets = self._shared_free, self._buckets
        for room in range(accelerators, self.per_node):
            bucket = buckets[room]
            while bucket:
                number = bucket.pop()
                # Entries of a bucket may be out of date; the node's own count decides.
                if shared_free[number] == room:
                    self._set_room(number, room - accelerators)
                    return (number,)
        pod = self.take_nodes(1)
        if pod is None or not isinstance(pod, int):
            return None
        if self._unused:
            number = self._unused.pop()
            self._shared_pod[number] = pod
        else:
            number = len(shared_free)
            shared_free.append(0)
            self._shared_pod.append(pod)
        self._set_room(number, self.per_node - accelerators)
        return (number,)

    def _set_room(self, number: int, room: int) -> None:
        self._shared_free[number] = room
        if room:
            self._buckets[room].append(number)

    def give_back(self, held: Held, accelerators: int) -> None:
        """Free what a job held."""
        if isinstance(held, int):
            nodes = -(-accelerators // self.per_node)
            self.free[held] += nodes
            self.free_nodes += nodes
        elif isinstance(held, list):
            for pod, nodes in held:
                self.free[pod] += nodes
                self.free_nodes += nodes
        else:
            number = held[0]
            room = self._shared_free[number] + accelerators
            if room == self.per_node:
                self._shared_free[number] = -1
                self._unused.append(number)
                self.free[self._shared_pod[number]] += 1
                self.free_nodes += 1
            else:
                self._set_room(number, room)

    def lose_node(self, pod: int) -> int:
        """Take a free node out of service, of that pod if it has one; returns whose count went down, -1 if none's.

        The job whose node broke goes on counting as before: the healthy node has taken the broken one's place.
        """
        found = next((other for other in (pod, *range(len(self.free))) if self.free[other] > 0), -1)
        if found >= 0:
            self.free[found] -= 1
            self.free_nodes -= 1
        return found

    def regain_node(self, pod: int) -> None:
        """A repaired node comes back to the pod."""
        self.free[pod] += 1
        self.free_nodes += 1
