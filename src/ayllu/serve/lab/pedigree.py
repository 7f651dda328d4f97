"""Lineage as a graph: what a result was made from and what was made from it, in layers from sources to release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ayllu.lab.shelf.index import Entry, headline
from ayllu.serve.lab.shelf import Snapshot

MOST = 400
"""Nodes of a graph that can still be looked at."""
ROUNDS = 2
"""Passes in which neighbours are brought close to each other."""


def pedigree(row: Entry, snapshot: Snapshot) -> dict[str, Any]:
    """`nodes` (each with its `layer` and its `place` in it), `edges` ([from, to, role, places in layers between]) and
    `left_out`, nodes beyond `MOST`: of those that were made from it the farthest."""
    rows = {_id(one): one for one in snapshot.sources(row)}
    sources = set(rows)
    after = _after([key for key in rows if row.kind == "run"] or [_id(row)], snapshot)
    for one in after:
        rows.setdefault(_id(one), one)
    left_out = max(len(rows) - MOST, 0)
    rows = dict(list(rows.items())[:MOST])
    edges = [
        [key, mine, role]
        for mine, one in rows.items()
        for role, (_, key) in one.inputs.items()
        if key in rows and key != mine
    ]
    layers = _layers(list(rows), edges)
    ways = [_way(source, target, layers) for source, target, _role in edges]
    steps = [pair for way in ways for pair in pairwise(way)]
    places = _places(layers | {stop: layer for way in ways for stop, layer in _stops(way, layers)}, steps)
    return {
        "of": {"key": row.key, "name": row.name, "kind": row.kind},
        "nodes": [
            {
                **{name: getattr(one, name) for name in ("key", "name", "kind", "stage", "state", "channels")},
                "score": headline(one.scores),
                "layer": layers[mine],
                "place": places[mine],
                "side": "it" if one is row else "before" if mine in sources else "after",
            }
            for mine, one in rows.items()
        ],
        "edges": [
            [*edge, [places[stop] for stop, _ in _stops(way, layers)]] for edge, way in zip(edges, ways, strict=True)
        ],
        "left_out": left_out,
    }


def _id(row: Entry) -> str:
    return row.key or row.name


def _after(keys: Sequence[str], snapshot: Snapshot) -> list[Entry]:
    """All that was made from these, the nearest first."""
    found: dict[str, Entry] = {}
    waiting = list(keys)
    for key in waiting:
        for row in snapshot.used_by.get(key, ()):
            if _id(row) not in found:
                found[_id(row)] = snapshot.by_key.get(row.key or "", row)
                waiting.append(_id(row))
    return list(found.values())


def _layers(keys: Sequence[str], edges: Sequence[Sequence[str]]) -> dict[str, int]:
    """The length of the longest way from a source to each; a record that makes a circle ends nothing."""
    layers = dict.fromkeys(keys, 0)
    for _ in keys:
        changed = False
        for source, target, _role in edges:
            if layers[target] <= layers[source] < len(keys):
                layers[target], changed = layers[source] + 1, True
        if not changed:
            break
    return _close_up(layers, edges)


def _close_up(layers: dict[str, int], edges: Sequence[Sequence[str]]) -> dict[str, int]:
    """Sources stand just above the first that was made from them, not all at the top."""
    with_inputs = {target for _, target, _role in edges}
    users: dict[str, list[int]] = {}
    for source, target, _role in edges:
        users.setdefault(source, []).append(layers[target])
    return {
        key: layer if key in with_inputs or key not in users else max(min(users[key]) - 1, 0)
        for key, layer in layers.items()
    }


def _way(source: str, target: str, layers: Mapping[str, int]) -> list[str]:
    """An edge from layer to layer, with a stop in each between, so that it goes past the nodes there."""
    return [source, *(f"{source}>{target}:{n}" for n in range(layers[source] + 1, layers[target])), target]


def _stops(way: Sequence[str], layers: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(stop, layers[way[0]] + n) for n, stop in enumerate(way[1:-1], 1)]


def _places(layers: Mapping[str, int], steps: Sequence[tuple[str, str]]) -> dict[str, int]:
    """An order within each layer in which few lines cross: by the mean place of neighbours, down and up again."""
    rows: dict[int, list[str]] = {}
    for key, layer in layers.items():
        rows.setdefault(layer, []).append(key)
    above: dict[str, list[str]] = {key: [] for key in layers}
    below: dict[str, list[str]] = {key: [] for key in layers}
    for source, target in steps:
        above[target].append(source)
        below[source].append(target)
    places = {key: n for row in rows.values() for n, key in enumerate(row)}
    for near in (above, below) * ROUNDS:
        for layer in sorted(rows, reverse=near is below):
            means = {key: _mean([places[other] for other in near[key]], places[key]) for key in rows[layer]}
            rows[layer].sort(key=means.__getitem__)
            places |= {key: n for n, key in enumerate(rows[layer])}
    return places


def _mean(values: Sequence[int], otherwise: int) -> float:
    return sum(values) / len(values) if values else float(otherwise)
