"""How far a prediction would follow one more row: all that a learner knows and doesn't know, seen from outside.

If row j were labelled and came out higher by δ, the prediction of row q would rise by R_qj δ. Of a Gaussian posterior with
covariance K, and noise variance w_j of row j,

    R_qj = K_qj / (K_jj + w_j),    so that    K_jj / w_j = R_jj / (1 − R_jj),    K_qj = R_qj (K_jj + w_j)

and N_j = w_j / K_jj = (1 − R_jj) / R_jj is the number of rows like j that the prediction of j has the weight of. One batched
adaptation, to the support and each row in turn, answers for every learner; where it isn't Gaussian this is an approximation.

Numbers: row j is given the prediction plus and minus one standard deviation, and all is on the learner's own scale. Classes:
row j is given to a class and to each of the others, R is the rise of the class's probability, and w = p (1 − p).
"""

from typing import Any

import numpy as np

from upstairs.adaptation import adapt, predict
from upstairs.prediction import ClassPrediction
from upstairs.target import back_quantile, forward
from upstairs.tasks import Tasks

__all__ = ["LARGEST", "SMALLEST", "own_responses", "responses"]

SMALLEST, LARGEST = 1e-6, 0.999


def responses(meta: Any, support: Tasks, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R [C, m, m] of rows Z [m, p] to each other (row q, column j) after a task's support, and w [C, m]; C is 1 for numbers."""
    m = len(Z)
    rise, noise = _rises(meta, support, Z, np.tile(np.arange(m), m), np.repeat(np.arange(m), m))
    return rise.reshape(-1, m, m).swapaxes(1, 2), noise


def own_responses(meta: Any, support: Tasks, Z: np.ndarray) -> np.ndarray:
    """R_jj [C, m] of each of the rows Z [m, p] to itself, between ``SMALLEST`` and ``LARGEST``."""
    every = np.arange(len(Z))
    return np.clip(_rises(meta, support, Z, every, every)[0], SMALLEST, LARGEST)


def _rises(meta: Any, support: Tasks, Z: np.ndarray, asked: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R [C, k] of the k pairs of rows asked and labelled, and w [C, m]."""
    now, _ = predict(adapt(meta, support), Z, np.zeros(len(Z), int))

    def after(y: np.ndarray) -> Any:
        one_each = Tasks(Z, y, np.arange(len(Z) + 1), np.arange(len(Z)), support.levels)
        adaptation = adapt(meta, support.take(np.zeros(len(Z), int)).join(one_each))
        return predict(adaptation, Z[asked], labelled)[0]

    if isinstance(now, ClassPrediction):
        n_classes, p = now.log_proba.shape[1], np.exp(now.log_proba).T
        given = np.stack([np.exp(after(np.full(len(Z), float(c))).log_proba) for c in range(n_classes)])
        others = (given.sum(axis=0) - given) / (n_classes - 1)
        return np.stack([given[c, :, c] - others[c, :, c] for c in range(n_classes)]), p * (1 - p)
    scale = meta.state_.scale
    up, down = (back_quantile(scale, now.center + sign * now.spread) for sign in (1, -1))
    moved = forward(scale, up) - forward(scale, down)
    return ((after(up).center - after(down).center) / moved[labelled])[None], np.ones((1, len(Z)))
