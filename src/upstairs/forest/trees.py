"""Boosted trees as flat arrays, walked for many rows at once.

LightGBM grows the trees; its text form is read here once into arrays, so that any number of boosters is one walk, a worker
needs no LightGBM, and a prediction of ten rows costs microseconds. A row goes left where ``x <= threshold`` (numbers, with
LightGBM's own rule for NaN) or where its code is in the node's bit set (categories).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

__all__ = ["Booster", "Trees", "flatten", "leaf_of", "sum_of"]

CATEGORY, DEFAULT_LEFT, NAN_IS_MISSING = 1, 2, 8
BLOCK = 64
"""Rows that walk a tree together, while it lies in the processor's nearest cache."""


class Trees(NamedTuple):
    """Trees of one or many boosters, with N inner nodes, L leaves and M trees in all.

    Attributes
    ----------
    feature : int16 [N]
    threshold : float32 [N]
        Rounded down from LightGBM's float64, which decides every float32 the same way.
    rule : uint8 [N]
        Bits: 1 a split of categories, 2 missing goes left, 8 NaN counts as missing (otherwise as 0).
    left, right : int32 [N]
        Child node, or -1 - leaf.
    bits_at : int32 [N]
        Where a category split's bit set begins in ``bits``.
    n_bits : int32 [N]
    bits : uint32 [B]
    value : float64 [L]
    root : int32 [M]
        First node, or -1 - leaf for a tree that never split.
    first_leaf : int32 [M]
    group : int16 [M]
        The sum that the tree adds to.
    """

    feature: np.ndarray
    threshold: np.ndarray
    rule: np.ndarray
    left: np.ndarray
    right: np.ndarray
    bits_at: np.ndarray
    n_bits: np.ndarray
    bits: np.ndarray
    value: np.ndarray
    root: np.ndarray
    first_leaf: np.ndarray
    group: np.ndarray


class Booster(NamedTuple):
    """LightGBM's own text of a booster; its leaf values, times the weight, add to the sum of its group."""

    text: str
    weight: float
    group: int


def flatten(boosters: Sequence[Booster]) -> Trees:
    """All trees of the boosters."""
    parts: dict[str, list] = {name: [] for name in Trees._fields}
    n_nodes = n_leaves = n_words = 0
    for text, weight, group in boosters:
        for tree in _read_trees(text):
            value = tree["leaf_value"] * weight
            left, right = tree["left_child"].astype(np.int32), tree["right_child"].astype(np.int32)
            category = (tree["decision_type"].astype(np.uint8) & CATEGORY).astype(bool)
            bounds = tree["cat_boundaries"].astype(np.int32)
            which = np.where(category, tree["threshold"], 0).astype(np.int32)
            parts["feature"].append(tree["split_feature"].astype(np.int16))
            parts["threshold"].append(_round_down(np.where(category, 0, tree["threshold"])))
            parts["rule"].append(tree["decision_type"].astype(np.uint8))
            parts["left"].append(np.where(left >= 0, left + n_nodes, left - n_leaves))
            parts["right"].append(np.where(right >= 0, right + n_nodes, right - n_leaves))
            parts["bits_at"].append(np.where(category, bounds[which] + n_words, 0))
            parts["n_bits"].append(np.where(category, 32 * (bounds[np.minimum(which + 1, len(bounds) - 1)] - bounds[which]), 0))
            parts["bits"].append(tree["cat_threshold"].astype(np.uint32))
            parts["value"].append(value)
            parts["root"].append([n_nodes if len(left) else -1 - n_leaves])
            parts["first_leaf"].append([n_leaves])
            parts["group"].append([group])
            n_nodes, n_leaves = n_nodes + len(left), n_leaves + len(value)
            n_words += len(tree["cat_threshold"])
    kinds = [np.int16, np.float32, np.uint8, np.int32, np.int32, np.int32, np.int32, np.uint32, np.float64] + [np.int32] * 2
    return Trees(
        *(
            np.concatenate(parts[name]).astype(kind) if parts[name] else np.empty(0, kind)
            for name, kind in zip(Trees._fields, [*kinds, np.int16], strict=True)
        )
    )


def sum_of(trees: Trees, X: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum of the leaf values of each group's trees, float64 [n, n_groups], for rows X float32 [n, p]."""
    out = np.zeros((len(X), n_groups))
    _walk(*trees, X, out, np.empty((0, 0), np.uint8))
    return out


def leaf_of(trees: Trees, X: np.ndarray) -> np.ndarray:
    """Index of the leaf that each row reaches in each tree, uint8 [n, M], counted from the tree's first."""
    leaves = np.empty((len(X), len(trees.root)), np.uint8)
    _walk(*trees, X, np.empty((0, 0)), leaves)
    return leaves


@numba.njit(cache=True, nogil=True)
def _walk(
    feature, threshold, rule, left, right, bits_at, n_bits, bits, value, root, first_leaf, group, X, out, leaves
):  # pragma: no cover (compiled)
    for start in range(0, len(X), BLOCK):
        stop = min(start + BLOCK, len(X))
        for tree in range(len(root)):
            for i in range(start, stop):
                node = root[tree]
                while node >= 0:
                    x = X[i, feature[node]]
                    kind = rule[node]
                    if kind & CATEGORY:
                        goes_left = False
                        if x >= 0 and x < n_bits[node]:
                            code = int(x)
                            goes_left = (bits[bits_at[node] + (code >> 5)] >> np.uint32(code & 31)) & np.uint32(1) != 0
                    elif x != x:
                        goes_left = (kind & DEFAULT_LEFT) != 0 if kind & NAN_IS_MISSING else threshold[node] >= 0
                    else:
                        goes_left = x <= threshold[node]
                    node = left[node] if goes_left else right[node]
                leaf = -1 - node
                if len(out):
                    out[i, group[tree]] += value[leaf]
                if len(leaves):
                    leaves[i, tree] = leaf - first_leaf[tree]


def _read_trees(text: str) -> list[dict[str, np.ndarray]]:
    """The arrays of each tree in LightGBM's own text."""
    trees = []
    for block in text[: text.index("end of trees")].split("\nTree=")[1:]:
        lines = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
        names = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "cat_threshold")
        tree = {name: np.array(lines.get(name, "").split(), dtype=np.float64) for name in names}
        tree["leaf_value"] = np.array(lines["leaf_value"].split(), dtype=np.float64)
        tree["cat_boundaries"] = np.array(lines.get("cat_boundaries", "0").split(), dtype=np.float64)
        if lines["num_leaves"] == "1":
            tree |= {name: np.empty(0) for name in names}
        trees.append(tree)
    return trees


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)
