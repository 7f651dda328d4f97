"""Randomized trees that say, for each cell of an answer, which of the colours that it could take is the right one.

A leaf is done as soon as one source explains all its cells: a tree asks no more than it must. Shapes: P cells, B binary
features, S sources (the colours that a cell could take, and the colours that mean themselves), C colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ayllu.evals.arc.describe import COLOURS, NONE

Bits = NDArray[np.float32]
CLOSE = 1e-3
"""Questions whose worth differs by less, in cells, are equally good: what is left is how sums were rounded."""
OWN = 8
"""So many features come first: what colour a cell has."""


@dataclass(frozen=True, kw_only=True)
class ForestConfig:
    """How many trees, and how much each sees."""

    trees: int = 24
    features: float = 0.4
    """Share of the features that a question is chosen from."""
    depth: int = 24


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of grids, one below the other."""

    bits_PB: Bits
    """1 where a feature is true."""
    colours_PS: NDArray[np.int8]
    """The colour of each source, or `NONE`."""


@dataclass
class Tree:
    """Questions in their order: a feature, and where a cell goes on; leaves hold what sources are worth."""

    feature: list[int]
    false: list[int]
    true: list[int]
    worth: dict[int, NDArray[np.float32]]

    def leaves(self, bits_PB: Bits) -> NDArray[np.int64]:
        """The node in which each cell ends."""
        node = np.zeros(len(bits_PB), np.int64)
        feature, false, true = (np.array(column) for column in (self.feature, self.false, self.true))
        while True:
            inner = feature[node] >= 0
            if not inner.any():
                return node
            at = node[inner]
            says = bits_PB[inner, feature[at]] > 0
            node[inner] = np.where(says, true[at], false[at])


def grow_forest(cells: Cells, wanted_P: NDArray[np.int8], config: ForestConfig, *, seed: int) -> list[Tree]:
    """Trees that explain the wanted colours of cells."""
    right_PS = (cells.colours_PS == wanted_P[:, None]).astype(np.float32)
    draw = np.random.default_rng(seed)
    return [_grow(cells.bits_PB, right_PS, config, draw) for _ in range(config.trees)]


def _grow(bits_PB: Bits, right_PS: Bits, config: ForestConfig, draw: np.random.Generator) -> Tree:
    tree = Tree(feature=[], false=[], true=[], worth={})
    number = max(1, round(config.features * bits_PB.shape[1]))

    def node(index: NDArray[np.int64], depth: int) -> int:
        place = len(tree.feature)
        tree.feature.append(-1)
        tree.false.append(place)
        tree.true.append(place)
        right_nS = right_PS[index]
        count_S = right_nS.sum(0)
        chosen = None
        if count_S.max() < len(index) and depth < config.depth:
            # In order: among questions that explain as much the simplest is asked, and what a cell is itself, always.
            some = np.union1d(draw.permutation(bits_PB.shape[1])[:number], np.arange(min(OWN, bits_PB.shape[1])))
            chosen = _question(bits_PB, right_nS, index, some)
        if chosen is None:
            tree.worth[place] = count_S / len(index)
            return place
        says = bits_PB[index, chosen] > 0
        tree.feature[place] = chosen
        tree.false[place] = node(index[~says], depth + 1)
        tree.true[place] = node(index[says], depth + 1)
        return place

    node(np.arange(len(bits_PB)), 0)
    return tree


def _question(bits_PB: Bits, right_nS: Bits, index: NDArray[np.int64], features: NDArray[np.int64]) -> int | None:
    """The feature after which single sources explain the most cells; among equals, after which cells are most alike."""
    bits_nB = bits_PB[np.ix_(index, features)]
    number_B = bits_nB.sum(0)
    size = len(index)
    parts = np.flatnonzero((number_B > 0) & (number_B < size))
    if not len(parts):
        return None
    bits_nB, number_B = bits_nB[:, parts], number_B[parts]
    true_BS = bits_nB.T @ right_nS
    false_BS = right_nS.sum(0) - true_BS
    explained_B = true_BS.max(1) + false_BS.max(1)
    alike_B = (true_BS**2).sum(1) / number_B + (false_BS**2).sum(1) / (size - number_B)
    worth_B = explained_B + alike_B / right_nS.shape[1]
    return int(features[parts[np.flatnonzero(worth_B >= worth_B.max() - CLOSE)[0]]])


def ask_forest(forest: list[Tree], cells: Cells, common_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares of the votes for each colour, (P, C). A tree takes the source that was right most often in its leaf.

    Of sources that were right as often it takes the one that is right most often elsewhere (`common_S`), and of those
    the first, which is the simplest.
    """
    votes_PC = np.zeros((len(cells.bits_PB), COLOURS), np.float32)
    rows_P = np.arange(len(votes_PC))
    order_S = common_S.round(2) - 1e-4 * np.arange(len(common_S))
    for tree in forest:
        leaf_P = tree.leaves(cells.bits_PB)
        worth_PS = np.stack([tree.worth[leaf] for leaf in leaf_P]).round(3) * 100 + order_S
        worth_PS[cells.colours_PS == NONE] = -1.0
        votes_PC[rows_P, np.maximum(cells.colours_PS[rows_P, worth_PS.argmax(1)], 0)] += 1
    return votes_PC / np.float32(len(forest))
