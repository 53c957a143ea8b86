"""How much of a prediction is the task's own rows' word, and how much is borrowed from other tasks.

A prediction that one more row of its own kind would move by a share R of the surprise has the weight of N = (1 − R) / R rows
(`influence`). Before any row of the task is seen these are all the other tasks'; so

    borrowed_q = N_q(no support) / N_q(support),    N_q = (1 − R_qq) / R_qq

Of a random intercept with variance τ² and noise σ², N is σ²/τ² + s after s rows, and borrowed = σ² / (σ² + s τ²): in actuarial
science one less the credibility of the task's own experience (Bühlmann 1967). Of any Gaussian process it is the share of the
prior variance of the task's deviation at q that is left. A model that never adapts borrows everything; one that heeds no
first row but later ones, as the ridge of a task alone, nothing. It is asked of the model itself, so of every learner alike.

How far support row i moved a prediction is told by leaving it out: ŷ − ŷ₋ᵢ.

References
----------
Bühlmann (1967), Experience rating and credibility, ASTIN Bulletin 4.
"""

from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.influence import SMALLEST, own_responses
from upstairs.tasks import Tasks, offsets_of

__all__ = ["borrowed_share", "moved_by_rows", "with_more_rows"]

LEAST_HEED = 1e-3
"""A learner that doesn't heed a first row at all but heeds the next so much has forgotten all other tasks."""
N_DRAWS = 4
"""Draws of the rows that might come, averaged."""


def borrowed_share(meta: Any, support: Tasks, Z: np.ndarray, label: int = 1) -> np.ndarray:
    """The borrowed share [n] of predictions of rows Z [n, p] after one task's support; of classes, of that of ``label``."""
    if len(support.y) == 0:
        return np.ones(len(Z))
    before, now = (own_responses(meta, some, Z) for some in (support.nothing(), support))
    before, now = (R[0 if len(R) == 1 else label] for R in (before, now))
    share = np.minimum((1 - before) / before * now / (1 - now), 1)
    return np.where((before <= SMALLEST) & (now > LEAST_HEED), 0.0, share)


def with_more_rows(meta: Any, support: Tasks, Z: np.ndarray, n_more: int, label: int = 1) -> np.ndarray:
    """The borrowed share [n] if the task had ``n_more`` rows more, with targets as predicted.

    The columns of the rows that might come are drawn from known tasks; if the model holds none, from the rows asked about.
    """
    pool, rng = (meta.known_.X if len(meta.known_.X) else Z), np.random.default_rng(0)
    shares = []
    for _ in range(N_DRAWS):
        X = pool[rng.integers(len(pool), size=n_more)]
        prediction, _ = predict(adapt(meta, support), X, np.zeros(n_more, int))
        y = prediction.mean if meta.state_.scale is not None else prediction.log_proba.argmax(axis=1).astype(float)
        more = Tasks(X, y, np.array([0, n_more]), support.ids, support.levels)
        shares.append(borrowed_share(meta, support.join(more), Z, label))
    return np.mean(shares, axis=0)


def moved_by_rows(meta: Any, support: Tasks, Z: np.ndarray, label: int = 1) -> np.ndarray:
    """How far each of the s support rows moved the predictions of Z [n, p], float64 [n, s]: on the learner's scale, or of the
    probability of class ``label``.
    """
    s = len(support.y)
    kept = np.flatnonzero(~np.eye(s, dtype=bool).ravel()) % s
    X, y = np.concatenate([support.X, support.X[kept]]), np.concatenate([support.y, support.y[kept]])
    offsets = offsets_of(np.array([s] + s * [s - 1]))
    adaptation = adapt(meta, Tasks(X, y, offsets, np.arange(s + 1), support.levels))
    prediction, _ = predict(adaptation, np.tile(Z, (s + 1, 1)), np.repeat(np.arange(s + 1), len(Z)))
    answer = prediction.center if meta.state_.scale is not None else np.exp(prediction.log_proba[:, label])
    whole, *without = answer.reshape(s + 1, len(Z))
    return (whole - np.array(without)).T
