"""Pooled LightGBM by folds of tasks: K boosters, each stopped by the tasks that it never saw.

One number of rounds serves all K: where the mean of the held-out curves is lowest, a curve weighing its rows. Every booster
starts from the population's mean or logits (shrunk a little, so that a class missing from some tasks costs no infinity).
"""

from typing import NamedTuple

import lightgbm
import numpy as np

from upstairs.tasks import Tasks
from upstairs.trees import Booster, Trees, contributions, flatten, sum_of

__all__ = ["Boosters", "explain_scores", "held_out_scores", "learn_boosters", "scores"]

PATIENCE, MOST_ROUNDS = 40, 1000
LEAVES = (5, 31)
PARAMS = {
    "min_data_in_leaf": 20,
    "cat_smooth": 10.0,
    "boost_from_average": False,
    "feature_pre_filter": False,
    "force_col_wise": True,
    "deterministic": True,
    "num_threads": 1,
    "verbosity": -1,
}


class Boosters(NamedTuple):
    """K fitted boosters of M scores: u, the logit of the second of two classes, or logits of all of more.

    Attributes
    ----------
    text : tuple of str [K]
        Each booster in LightGBM's own text, for explanations.
    trees : Trees
        The same trees; group k M + m adds to score m of booster k.
    start : float64 [K, M]
        What they add to.
    """

    text: tuple[str, ...]
    trees: Trees
    start: np.ndarray


def learn_boosters(
    tasks: Tasks, target: np.ndarray, n_classes: int, fold: np.ndarray, learning_rate: float, rng: np.random.Generator
) -> tuple[Boosters, int]:
    """Boosters of the target [n] (u or class codes), and their number of rounds; the number of leaves is chosen as well."""
    params = PARAMS | {"learning_rate": learning_rate, "seed": int(rng.integers(2**31 - 1))} | _objective(n_classes)
    start = np.stack([_start(target[fold[tasks.task_of_row] != k], n_classes) for k in range(fold.max() + 1)])
    runs = [_boost(tasks, target, fold, start, params | {"num_leaves": leaves}) for leaves in LEAVES]
    boosters, rounds, _ = min(runs, key=lambda run: run[2])
    text = tuple(booster.model_to_string(num_iteration=rounds) for booster in boosters)
    trees = flatten([Booster(own, 1.0, k) for k, own in enumerate(text)])
    n_scores = start.shape[1]  # of which each round grows a tree
    group = trees.group * n_scores + np.arange(len(trees.group), dtype=np.int16) % n_scores
    return Boosters(text, trees._replace(group=group), start), rounds


def scores(boosters: Boosters, X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scores [n, M] of rows X [n, p], a weighted mean over the boosters with weights [n, K]."""
    sums = sum_of(boosters.trees, X, boosters.start.size).reshape(len(X), *boosters.start.shape)
    return weights @ boosters.start + np.einsum("nk,nkm->nm", weights, sums)


def held_out_scores(boosters: Boosters, tasks: Tasks, fold: np.ndarray) -> np.ndarray:
    """Scores [n, M] of each task's rows by the booster of its fold."""
    return scores(boosters, tasks.X, np.eye(len(boosters.text))[fold[tasks.task_of_row]])


def explain_scores(boosters: Boosters, X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores as sums: what each starts from [n, M], and Shapley values by column [n, M, p] (Lundberg et al. 2020)."""
    n_scores = boosters.start.shape[1]
    terms = np.zeros((len(X), n_scores, X.shape[1] + 1))
    for k, text in enumerate(boosters.text):
        terms += weights[:, k, None, None] * contributions(text, X).reshape(terms.shape)
    return weights @ boosters.start + terms[..., -1], terms[..., :-1]


def _boost(
    tasks: Tasks, target: np.ndarray, fold: np.ndarray, start: np.ndarray, params: dict
) -> tuple[list[lightgbm.Booster], int, float]:
    """The booster of each fold, their best number of rounds, and the held-out error there."""
    categories = np.flatnonzero(tasks.levels).tolist()
    whole = lightgbm.Dataset(tasks.X, target, params=params, categorical_feature=categories, free_raw_data=False)
    fold_of_row = fold[tasks.task_of_row]
    boosters, curves = [], []
    for k, begin in enumerate(start):
        seen, unseen = (_from(begin, whole.subset(np.flatnonzero(rows))) for rows in (fold_of_row != k, fold_of_row == k))
        curve: dict = {}
        watch = [lightgbm.early_stopping(PATIENCE, verbose=False), lightgbm.record_evaluation(curve)]
        boosters.append(lightgbm.train(params, seen, MOST_ROUNDS, [unseen], ["unseen"], callbacks=watch))
        curves.append(next(iter(curve["unseen"].values())))
    shortest = min(map(len, curves))
    mean = np.average([curve[:shortest] for curve in curves], axis=0, weights=np.bincount(fold_of_row))
    return boosters, int(mean.argmin()) + 1, float(mean.min())


def _from(start: np.ndarray, rows: lightgbm.Dataset) -> lightgbm.Dataset:
    """The rows, with boosting to start from the scores [M]."""
    return rows.set_init_score(np.tile(start, (len(rows.used_indices), 1)).squeeze())


def _objective(n_classes: int) -> dict:
    if n_classes > 2:
        return {"objective": "multiclass", "num_class": n_classes}
    return {"objective": "binary"} if n_classes else {"objective": "regression"}


def _start(target: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean of u, or logits of the class frequencies, [M]."""
    if not n_classes:
        return target.mean(keepdims=True)
    log = np.log(np.bincount(target.astype(int), minlength=n_classes) + 0.5)
    return log[1:] - log[0] if n_classes == 2 else log - log.mean()
