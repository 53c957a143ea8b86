"""How much of a prediction is the task's own rows' word, and how much is borrowed from other tasks.

    own_q = Σ_i ∂ŷ_q / ∂y_i,    borrowed_q = 1 − own_q

the sum over the support rows i: had the whole task lain a little higher, so much of it would the prediction have followed. In
actuarial science this is the credibility of the task's own experience (Bühlmann 1967). Of a random intercept with variance τ²
and noise σ², borrowed = σ² / (σ² + s τ²) after s rows, which is also the share of the prior variance that is left; a model
without adaptation borrows all, one of the support alone nothing.

It is asked of the model itself, so of every learner alike. Numbers: the support is moved up and down by half a standard
deviation of the target, on the scale that the learner works on. A class: each support row in turn is given to it and to each
of the others; ŷ is the probability of the class.

How far row i moved a prediction is told by leaving it out: ŷ − ŷ₋ᵢ.

References
----------
Bühlmann (1967), Experience rating and credibility, ASTIN Bulletin 4.
"""

from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.target import back_quantile, forward
from upstairs.tasks import Tasks, offsets_of

__all__ = ["borrowed_share", "moved_by_rows", "with_more_rows"]

STEP = 0.5
MOST_FLIPPED = 30
"""Support rows whose class is changed, one at a time; of a larger support the sum over so many is scaled up."""
N_DRAWS = 4
"""Draws of the rows that might come, averaged."""


def borrowed_share(meta: Any, support: Tasks, Z: np.ndarray, label: int = 1) -> np.ndarray:
    """The borrowed share [n] of the predictions of rows Z [n, p] by one task's support; of the probability of class ``label``."""
    if len(support.y) == 0:
        return np.ones(len(Z))
    own = _own_numbers(meta, support, Z) if meta.state_.scale is not None else _own_class(meta, support, Z, label)
    return np.clip(1 - own, 0, 1)


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


def _own_numbers(meta: Any, support: Tasks, Z: np.ndarray) -> np.ndarray:
    scale = meta.state_.scale
    u = forward(scale, support.y)
    up, down = (back_quantile(scale, u + step) for step in (STEP, -STEP))
    moved = (forward(scale, up) - forward(scale, down)).mean()  # the ends of a log scale may hold some rows back
    both = support.take(np.zeros(2, int))._replace(y=np.concatenate([up, down]))
    prediction, _ = predict(adapt(meta, both), np.concatenate([Z, Z]), np.repeat([0, 1], len(Z)))
    up, down = prediction.center.reshape(2, -1)
    return (up - down) / moved


def _own_class(meta: Any, support: Tasks, Z: np.ndarray, label: int) -> np.ndarray:
    s, n_classes = len(support.y), len(meta.classes_)
    rows = np.sort(np.random.default_rng(0).permutation(s)[:MOST_FLIPPED])
    changed = support.take(np.zeros(len(rows) * n_classes, int))
    y = changed.y.reshape(len(rows), n_classes, s).copy()
    y[np.arange(len(rows))[:, None], np.arange(n_classes), rows[:, None]] = np.arange(n_classes)
    task = np.repeat(np.arange(len(rows) * n_classes), len(Z))
    prediction, _ = predict(adapt(meta, changed._replace(y=y.ravel())), np.tile(Z, (len(rows) * n_classes, 1)), task)
    probability = np.exp(prediction.log_proba[:, label]).reshape(len(rows), n_classes, len(Z))
    others = np.delete(probability, label, axis=1).mean(axis=1)
    return (probability[:, label] - others).sum(axis=0) * s / len(rows)
