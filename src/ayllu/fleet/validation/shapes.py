"""The model of a row: its own figures, else the published shape of that name, else what its parameters imply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from ayllu.fleet.catalogue import read_table
from ayllu.fleet.experts import expert_model
from ayllu.fleet.planner.queries import model_columns
from ayllu.fleet.validation.cells import Unusable, cell
from ayllu.fleet.validation.inferred import sequence_length

LARGEST_HEADS = 8
"""Features of all heads together, over the width; published models have up to 2 (Qwen3-0.6B)."""


@cache
def _public_shapes() -> list[tuple[str, dict[str, str]]]:
    rows = [(re.sub(r"[^a-z0-9.]", "", row["name"].lower()), row) for row in read_table("models.csv")]
    return sorted(rows, key=lambda pair: -len(pair[0]))


def dense_shape(row: Mapping[str, str], software: Mapping[str, str]) -> dict[str, float]:
    """The model's columns: the row's own, else the public shape of that name, else what the parameter count implies."""
    plain = re.sub(r"[^a-z0-9.]", "", row["model"].lower()).replace("llama3.1405b", "llama3.1405b")
    public = next((shape for name, shape in _public_shapes() if name in plain), {})

    def known(column: str, ours: str) -> float | None:
        return cell(row, column) or (float(public[ours]) if public else None)

    layers, width = known("layers", "layers"), known("hidden", "width")
    if layers is None or width is None:
        raise Unusable("no architecture")
    heads = known("heads", "heads") or max(1.0, round(width / 128))
    kv_heads = known("kv_heads", "kv_heads") or heads
    if not kv_heads <= heads <= width:
        raise Unusable("more heads than features, or more of keys than of queries")
    head_width = _head_width(row, public, width, heads)
    vocabulary = known("vocab", "vocabulary") or 50304.0
    sequence = _sequence(row, software)
    shape = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "vocabulary": vocabulary,
        "sequence": sequence,
    }
    feed_forward = known("ffn", "feed_forward")
    gated = bool(re.search(r"llama|qwen|mistral|gemma|olmo|smol", row["model"], re.I))
    if public and feed_forward == float(public["feed_forward"]):
        return shape | {"feed_forward": feed_forward, "gates": float(public["gates"]), "tied": float(public["tied"])}
    parameters = (cell(row, "params_b") or 0) * 1e9
    if not parameters:
        return shape | {
            "feed_forward": feed_forward or 4 * width,
            "gates": 2.0 if gated and feed_forward else 1.0,
            "tied": 0.0,
        }
    return shape | _nearest_blocks(shape, feed_forward or 4 * width, parameters)


def _head_width(row: Mapping[str, str], public: Mapping[str, str], width: float, heads: float) -> float:
    """The row's own, else that of the public shape where the row has its heads, else an equal part of the width."""
    own = cell(row, "head_dim")
    if own is None and public and (width, heads) == (float(public["width"]), float(public["heads"])):
        own = cell(public, "head_width")
    if own is not None and own * heads > LARGEST_HEADS * width:
        raise Unusable("heads of more features than the model can feed")
    return own or width / heads


@cache
def _expert_shapes() -> list[tuple[str, dict[str, str]]]:
    rows = [(re.sub(r"[^a-z0-9.]", "", row["name"].lower()), row) for row in read_table("experts.csv")]
    return sorted(rows, key=lambda pair: -len(pair[0]))


def known_mixture(model: str) -> dict[str, str] | None:
    plain = re.sub(r"[^a-z0-9.]", "", model.lower())
    return next((shape for name, shape in _expert_shapes() if name in plain), None)


def expert_shape(row: Mapping[str, str], software: Mapping[str, str], public: dict[str, str]) -> dict[str, float]:
    """The columns of a published mixture of experts, perhaps cut to the row's layers."""
    sequence = _sequence(row, software)
    layers = cell(row, "layers")
    width = cell(row, "hidden")
    if (layers or 1) > int(public["layers"]) or (width or int(public["width"])) != int(public["width"]):
        raise Unusable("architecture and name disagree")
    return model_columns(expert_model(public, layers=int(layers) if layers else None), int(sequence))


def _nearest_blocks(shape: Mapping[str, float], feed_forward: float, parameters: float) -> dict[str, float]:
    """Gated or not, tied or not: whichever comes nearest to the published parameter count."""

    def off(choice: tuple[int, int]) -> float:
        gates, tied = choice
        attention = shape["width"] * shape["head_width"] * 2 * (shape["heads"] + shape["kv_heads"])
        blocks = shape["layers"] * (attention + (gates + 1) * shape["width"] * feed_forward)
        return abs(blocks + shape["vocabulary"] * shape["width"] * (2 - tied) - parameters)

    gates, tied = min(((g, t) for g in (1, 2) for t in (0, 1)), key=off)
    if off((gates, tied)) > 0.35 * parameters:
        raise Unusable("architecture and parameter count disagree")
    return {"feed_forward": feed_forward, "gates": float(gates), "tied": float(tied)}


def _sequence(row: Mapping[str, str], software: Mapping[str, str]) -> float:
    found = cell(row, "seq_len") or told_length(row) or float(software["sequence"] or 0)
    if not found:
        raise Unusable("no sequence length")
    return found


def told_length(row: Mapping[str, str]) -> float | None:
    """Tokens of a sequence where the row does not say it but its times and its batch do."""
    if row.get("seq_len"):
        return None
    return sequence_length(*(cell(row, name) for name in ("tokens_per_s", "step_time_s", "global_batch_seqs")))
