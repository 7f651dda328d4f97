"""Whose turn it is: places that are handed out to clients, and taken back from those who had more than others."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass


class QueueFull(Exception):
    """So many callers are waiting that one more would only wait in vain."""


MOST_WAITING = 1024
"""Callers of all clients together."""


RECENT_SECONDS = 60.0
"""In so long what was served is forgotten to a third."""
LEAST = 1e-3
"""Less than this is nothing."""


@dataclass(kw_only=True, slots=True, eq=False)
class Holder:
    """One who can give a turn back before its work is done, and goes on with the next."""

    ready: Callable[[], bool]
    """Whether it has done enough in this turn for the change to be worth it."""
    ask: Callable[[], None]
    """Is called once, when others should have the turn: `give` has to follow soon."""
    asked: bool = False


class Turns:
    """Hands out `places` turns, first to the client that was served least of late.

    What was served is what `charge` says, such as tokens, so that long answers count for what they take, as in the
    virtual token counter of Sheng et al. 2024 (https://arxiv.org/abs/2401.00588); here it is forgotten over a minute,
    so that nobody saves up. Callers of one client wait in line, and clients with equal counts are served in rounds.

    Not every turn that has begun can be taken away, so places are kept free for others: a client may hold half of those
    that others do not hold, rounded up, so that there is one for the next client at once, however much the first asks;
    rounded down where it was served more than its part. A line that is full is full for its own client only.

    To a client that was served no more than its part, turns of those who were served more and can give them back are as
    good as free: it waits for one to be given back, not for an answer to end.
    """

    def __init__(self, places: int, *, longest: int) -> None:
        self._places = self._free = places
        self._longest = longest
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._served: dict[str, float] = {}
        """What clients were served of late."""
        self._forgotten = 0.0
        """The time up to which that has been forgotten."""
        self._holders: dict[str, list[Holder]] = {}
        """Who can give turns back, by client."""
        self._missing = 0
        """How many turns others should have, and nobody was ready to give back."""

    @property
    def waiting(self) -> int:
        """How many callers have no turn yet."""
        return sum(len(line) for line in self._waiting.values())

    def waiting_of(self, client: str) -> int:
        """How many callers of `client` have no turn yet."""
        return len(self._waiting.get(client, ()))

    def part_of(self, client: str) -> float:
        """How many turns `client` can hold at a time as things are: half of what others do not hold, at least one."""
        others = sum(held for name, held in self._held.items() if name != client)
        return max(1.0, (self._places - others) / 2)

    def full(self, client: str) -> bool:
        """Whether one more caller of `client` would be turned away."""
        if self._may_hold_one_more(client, self._part()):
            return False
        return self.waiting_of(client) >= self._longest or self.waiting >= MOST_WAITING

    def charge(self, client: str, amount: float) -> None:
        """Count what was computed for `client`."""
        self._forget()
        self._served[client] = self._served.get(client, 0.0) + amount
        if self._missing:
            self._ask_back(self._part())

    async def take(self, client: str, holder: Holder | None = None, *, again: bool = False) -> None:
        """Return when it is the caller's turn; QueueFull when too many wait. `give` has to follow.

        A `holder` may be asked to give it back; who has, takes it `again`, before others of its client.
        """
        if not again and self.full(client):
            raise QueueFull
        turn = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(client, deque())
        line.insert(0 if again else len(line), turn)
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(client, turn)
            else:
                self.give(client)
            raise
        if holder is not None:
            holder.asked = False
            self._holders.setdefault(client, []).append(holder)

    def give(self, client: str, holder: Holder | None = None) -> None:
        """End a turn of `client`: whoever may have one now, has it."""
        if holder is not None:
            self.keep(client, holder)
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        self._hand_out()

    def keep(self, client: str, holder: Holder | None) -> None:
        """From now on `holder` cannot give its turn back before its work is done."""
        holders = self._holders.get(client, [])
        if holder in holders:
            holders.remove(holder)
            if not holders:
                del self._holders[client]

    def _hand_out(self) -> None:
        self._forget()
        part = self._part()
        while may := [client for client in self._waiting if self._may_hold_one_more(client, part)]:
            following = min(may, key=lambda client: self._served.get(client, 0.0))  # of equals the first in rounds
            line = self._waiting[following]
            turn = line.popleft()
            self._waiting.move_to_end(following)
            if not line:
                del self._waiting[following]
            if not turn.done():
                self._free -= 1
                self._held[following] += 1
                turn.set_result(None)
        self._ask_back(part)

    def _ask_back(self, part: float) -> None:
        """Ask those who were served more than their part for as many turns as others wait for and may have."""
        over = self._over(part)
        due = sum(1 for client in self._waiting if self._light(client, part) and self._in_bounds(client, part))
        due -= self._free + sum(one.asked for holders in self._holders.values() for one in holders)
        for client in over:
            for holder in self._holders[client]:
                if due > 0 and not holder.asked and holder.ready():
                    holder.asked = True
                    holder.ask()
                    due -= 1
        self._missing = max(due, 0) if over else 0

    def _over(self, part: float) -> list[str]:
        """Clients that were served more than their part and can give turns back, the most served first."""
        found = [client for client in self._holders if self._served.get(client, 0.0) > part]
        return sorted(found, key=lambda client: -self._served[client])

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        if (passed := now - self._forgotten) > RECENT_SECONDS / 60:
            kept = math.exp(-passed / RECENT_SECONDS)
            self._served = {name: left for name, was in self._served.items() if (left := was * kept) > LEAST}
            self._forgotten = now

    def _part(self) -> float:
        """What each client, who waits or was served of late, had if all had had the same."""
        return sum(self._served.values()) / max(1, len(self._served.keys() | self._waiting.keys())) * (1 + 1e-9)

    def _may_hold_one_more(self, client: str, part: float) -> bool:
        return self._free > 0 and self._in_bounds(client, part)

    def _in_bounds(self, client: str, part: float) -> bool:
        """Whether one more turn leaves enough for others, where one is free or given back."""
        light = self._light(client, part)
        free = self._free + (sum(len(self._holders[other]) for other in self._over(part)) if light else 0)
        return self._held[client] + 1 <= (self._held[client] + free + light) // 2

    def _light(self, client: str, part: float) -> bool:
        return self._served.get(client, 0.0) <= part or not self._held

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(client, deque())
        if turn in line:
            line.remove(turn)
            if not line:
                del self._waiting[client]
