"""Boosted trees as flat arrays, replayed for many rows at once.

LightGBM grows a tree split by split: split k of a leaf keeps some of its rows there and moves the others to the new leaf k + 1.
A tree is replayed here in that order, for a block of rows side by side: each split is one comparison of all of them, without a
branch, which takes a fraction of the time that following each row from the root would. Trees ask few questions of a column, so
a number is first made a level, how many of its column's thresholds lie below it: one byte, of which a vector holds many.
LightGBM's text form is read once into arrays, so that any number of boosters is one replay; LightGBM itself is asked for
Shapley values only.

A row stays in its leaf where ``x <= threshold`` (numbers) or where its code is in the split's bit set (categories).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import lightgbm
import numba
import numpy as np

from upstairs.compiled import read_only
from upstairs.tasks import offsets_of

__all__ = ["Booster", "Trees", "contributions", "flatten", "leaf_of", "sum_of"]

CATEGORY, DEFAULT_LEFT, NAN_IS_MISSING = 1, 2, 8
"""LightGBM's own bits of a split."""
NAN_MOVES, NAN_STAYS, IN_SET = 0, 1, 2
BLOCK, LANES = 512, 32
"""Rows that are replayed together, while their levels lie in the processor's nearest cache; their number is rounded up to
whole vectors."""
MOST_CUTS, ABOVE_ALL = 254, 255
"""Thresholds of a column of levels; where a feature has more, it gets another. And the level of a NaN that moves."""


class Levels(NamedTuple):
    """Numbers as N splits of C columns see them: a row moves on where the level of its column is above that of the split.

    Attributes
    ----------
    column : int32 [N]
    level : uint8 [N]
        Both 0 for categories.
    feature : int32 [C]
        The feature of X that a column shows.
    nan : uint8 [C]
        The level of NaN there: lowest or highest, so that it stays or moves.
    cut : float32
        Thresholds, rising in each column.
    first_cut : int32 [C + 1]
    """

    column: np.ndarray
    level: np.ndarray
    feature: np.ndarray
    nan: np.ndarray
    cut: np.ndarray
    first_cut: np.ndarray


class Trees(NamedTuple):
    """Trees of one or many boosters, with N splits, L leaves and M trees in all (L = N + M).

    Attributes
    ----------
    feature : int16 [N]
    threshold : float32 [N]
        Rounded down from LightGBM's float64, which decides every float32 the same way.
    rule : uint8 [N]
        0 numbers whose NaN moves, 1 numbers whose NaN stays, 2 categories.
    leaf : uint8 [N]
        The leaf that is split, counted from the tree's first.
    bits_at : int32 [N]
        Where a category split's bit set begins in ``bits``.
    n_bits : int32 [N]
    bits : uint32 [B]
    value : float64 [L]
    first_leaf : int32 [M]
        Tree m begins with this leaf, and with split ``first_leaf[m] - m``.
    group : int16 [M]
        The sum that the tree adds to.
    levels : Levels or None
        ``feature``, ``threshold`` and ``rule`` of numbers once more; None in files of versions that had none.
    """

    feature: np.ndarray
    threshold: np.ndarray
    rule: np.ndarray
    leaf: np.ndarray
    bits_at: np.ndarray
    n_bits: np.ndarray
    bits: np.ndarray
    value: np.ndarray
    first_leaf: np.ndarray
    group: np.ndarray
    levels: Levels | None = None


class Booster(NamedTuple):
    """LightGBM's own text of a booster; its leaf values, times the weight, add to the sum of its group."""

    text: str
    weight: float
    group: int


def flatten(boosters: Sequence[Booster]) -> Trees:
    """All trees of the boosters."""
    texts = [(lines, weight, group) for text, weight, group in boosters for lines in _read_trees(text)]
    trees, weights, groups = zip(*texts, strict=True) if texts else ((), (), ())
    (value, n_leaves), (threshold, n_splits) = (_read_all(trees, name) for name in ("leaf_value", "threshold"))
    decision = _read_all(trees, "decision_type")[0].astype(np.uint8)
    tree = np.repeat(np.arange(len(trees)), n_splits)
    category = (decision & CATEGORY).astype(bool)
    stays = np.where(decision & NAN_IS_MISSING, decision & DEFAULT_LEFT, threshold >= 0)
    # the threshold of a category split is the number of its bit set among those of its tree
    (bounds, n_bounds), (bits, n_words) = (_read_all(trees, name) for name in ("cat_boundaries", "cat_threshold"))
    own = threshold[category].astype(np.int64) + offsets_of(n_bounds)[tree[category]]
    bits_at, n_bits = np.zeros((2, len(tree)), np.int32)
    bits_at[category], n_bits[category] = (
        bounds[own] + offsets_of(n_words)[tree[category]],
        32 * (bounds[own + 1] - bounds[own]),
    )
    flat = Trees(
        feature=_read_all(trees, "split_feature")[0].astype(np.int16),
        threshold=_round_down(np.where(category, 0, threshold)),
        rule=np.where(category, IN_SET, np.where(stays, NAN_STAYS, NAN_MOVES)).astype(np.uint8),
        leaf=_split_leaves(_read_all(trees, "left_child")[0].astype(np.int64), offsets_of(n_splits)[tree]),
        bits_at=bits_at,
        n_bits=n_bits,
        bits=bits.astype(np.uint32),
        value=value * np.repeat(np.array(weights, np.float64), n_leaves),
        first_leaf=offsets_of(n_leaves)[:-1].astype(np.int32),
        group=np.array(groups, np.int16),
    )
    return flat._replace(levels=_learn_levels(flat))


def sum_of(trees: Trees, X: np.ndarray, n_groups: int) -> np.ndarray:
    """Sum of the leaf values of each group's trees, float64 [n, n_groups], for rows X float32 [n, p]."""
    out = np.zeros((len(X), n_groups))
    _replay_all(trees, X, out, np.empty((0, 0), np.uint8))
    return out


def leaf_of(trees: Trees, X: np.ndarray) -> np.ndarray:
    """Index of the leaf that each row reaches in each tree, uint8 [n, M], counted from the tree's first."""
    leaves = np.empty((len(X), len(trees.group)), np.uint8)
    _replay_all(trees, X, np.empty((0, 0)), leaves)
    return leaves


def contributions(text: str, X: np.ndarray) -> np.ndarray:
    """Shapley values by column of a booster's sums, and last what they add to: [n, p + 1] each (Lundberg et al. 2020)."""
    return _parse(text).predict(X, pred_contrib=True, num_threads=1)


def _learn_levels(trees: Trees) -> Levels:
    """Columns of levels for the splits [N] of numbers: one for each feature and way with NaN, or several."""
    column, level = np.zeros(len(trees.feature), np.int32), np.zeros(len(trees.feature), np.uint8)
    features: list[int] = []
    nan, cuts = [], [np.empty(0, np.float32)]
    for j, own in sorted(set(zip(trees.feature.tolist(), trees.rule.tolist(), strict=True))):
        if own == IN_SET:
            continue
        splits = np.flatnonzero((trees.feature == j) & (trees.rule == own))
        distinct, rank = np.unique(trees.threshold[splits], return_inverse=True)
        part, level[splits] = np.divmod(rank, MOST_CUTS)
        column[splits] = len(features) + part
        for first in range(0, len(distinct), MOST_CUTS):
            features.append(j)
            nan.append(0 if own == NAN_STAYS else ABOVE_ALL)
            cuts.append(distinct[first : first + MOST_CUTS])
    first_cut = np.cumsum([len(own) for own in cuts]).astype(np.int32)
    return Levels(column, level, np.array(features, np.int32), np.array(nan, np.uint8), np.concatenate(cuts), first_cut)


def _replay_all(trees: Trees, X: np.ndarray, out: np.ndarray, leaves: np.ndarray) -> None:
    levels = trees.levels or _learn_levels(trees)
    _replay(
        *levels, trees.feature, trees.rule, trees.leaf, trees.bits_at, trees.n_bits, trees.bits, trees.value, trees.first_leaf,
        trees.group, read_only(X), out, leaves,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _replay(
    column, level, shown, nan, cut, first_cut, feature, rule, leaf, bits_at, n_bits, bits, value, first_leaf, group,
    X, out, leaves,
):  # fmt: skip  # pragma: no cover (compiled)
    seen, at = np.zeros((len(shown), BLOCK), np.uint8), np.empty(BLOCK, np.uint8)
    sums, x = np.empty((out.shape[1], BLOCK)), np.empty(BLOCK, np.float32)
    for start in range(0, len(X), BLOCK):
        n = min(len(X) - start, BLOCK)
        width = -(-n // LANES) * LANES
        _see(X, start, n, shown, nan, cut, first_cut, x, seen)
        sums[:, :n] = 0
        for tree in range(len(group)):
            first = first_leaf[tree]
            n_leaves = (first_leaf[tree + 1] if tree + 1 < len(group) else len(value)) - first
            at[:width] = 0
            for new in range(1, n_leaves):
                split = first - tree + new - 1
                if rule[split] == IN_SET:
                    _move_categories(X, start, n, feature[split], bits, bits_at[split], n_bits[split], leaf[split], new, at)
                else:
                    _move_numbers(seen, column[split], level[split], leaf[split], np.uint8(new), at, width)
            if len(out):
                own, own_value = sums[group[tree]], value[first : first + n_leaves]
                for i in range(n):
                    own[i] += own_value[at[i]]
            if len(leaves):
                for i in range(n):
                    leaves[start + i, tree] = at[i]
        if len(out):
            for i in range(n):
                for g in range(out.shape[1]):
                    out[start + i, g] = sums[g, i]


@numba.njit(cache=True, nogil=True)
def _see(X, start, n, shown, nan, cut, first_cut, x, seen):  # pragma: no cover (compiled)
    """Levels of n rows: comparing many rows with all cuts of a column is faster than a search of each; ``x`` is scratch."""
    for c in range(len(shown)):
        level = seen[c]
        for i in range(n):
            x[i], level[i] = X[start + i, shown[c]], 0
        for k in range(first_cut[c], first_cut[c + 1]):
            for i in range(n):
                level[i] += np.uint8(1) if cut[k] < x[i] else np.uint8(0)
        for i in range(n):
            level[i] = nan[c] if np.isnan(x[i]) else level[i]


@numba.njit(cache=True, nogil=True)
def _move_numbers(seen, c, level, old, new, at, width):  # pragma: no cover (compiled)
    for i in range(width):
        at[i] = new if (at[i] == old) & (seen[c, i] > level) else at[i]


@numba.njit(cache=True, nogil=True)
def _move_categories(X, start, n, j, bits, first, n_bits, old, new, at):  # pragma: no cover (compiled)
    for i in range(n):
        if at[i] == old:
            x = X[start + i, j]
            code = int(x) if x >= 0 and x < n_bits else -1
            if code < 0 or not (bits[first + (code >> 5)] >> np.uint32(code & 31)) & np.uint32(1):
                at[i] = new


def _split_leaves(left_child: np.ndarray, first_split: np.ndarray) -> np.ndarray:
    """The leaf that each split divides: the one at the end of its left branches, since a divided leaf keeps its number."""
    leaf = np.where(left_child >= 0, left_child + first_split, left_child)
    while (inner := leaf >= 0).any():
        leaf[inner] = leaf[leaf[inner]]
    return (-1 - leaf).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _parse(text: str) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=text)


def _read_trees(text: str) -> list[dict[str, str]]:
    """The lines of each tree in LightGBM's own text; of one that is a single leaf, its value only."""
    trees = []
    for block in text[: text.index("end of trees")].split("\nTree=")[1:]:
        lines = dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)
        trees.append({"leaf_value": lines["leaf_value"]} if lines["num_leaves"] == "1" else lines)
    return trees


def _read_all(trees: Sequence[dict[str, str]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of that name of all trees, one after the other, and how many each tree has [M]."""
    texts = [tree.get(name, "").strip() for tree in trees]
    counts = [text.count(" ") + 1 if text else 0 for text in texts]
    return np.fromstring(" ".join(filter(None, texts)), sep=" "), np.array(counts, int)


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)
