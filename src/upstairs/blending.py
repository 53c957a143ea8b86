"""How much of a prediction comes from each of several models: of y and of log y, of trees and of a line, of several learners.

exp(m + v/2) is the right mean where the log model is right, and wild where it isn't: heavy tails, or one giant task. A line
reaches tasks beyond those seen, or misleads there. So they are mixed (y and log y on the user's own scale, at each number of
shots) with the convex weights that would have been best for held-out tasks, averaged over bootstraps of a quarter of the
*tasks*: where few tasks decide, their coming and going draws the weights towards the middle.

    numbers    min ‖y − Σ_h w_h ŷ_h‖²    a minimum of wᵀGw on the simplex, where G = EᵀE and E holds the errors y − ŷ_h:
               on the right subset S of the models it lies at G_S⁻¹1, normalised; there are few models, so all S are tried
    classes    min −Σ log Σ_h w_h p_h    by EM: a row's share of model h is w_h p_h / Σ w p, and w_h the mean of its shares
"""

import itertools

import numpy as np

from upstairs.calibration import Calibration, between_buckets, learn_intervals
from upstairs.episodes import BUCKETS
from upstairs.prediction import Prediction, log_density
from upstairs.target import Scale

__all__ = ["blend_heads", "blend_numbers", "blend_weights", "mixture_weights"]

N_BOOTSTRAPS = 200
SHARE = 0.25
N_MIXTURES, N_EM_STEPS = 50, 50


def blend_weights(
    means: list[np.ndarray], y: np.ndarray, task: np.ndarray, rng: np.random.Generator, share: float = SHARE
) -> np.ndarray:
    """Weights [H] of H means [n] of y [n]; ``task`` [n] names each row's task, of which a bootstrap draws ``share``."""
    error = np.column_stack(means) - y[:, None]
    counts, codes = _bootstraps(task, rng, N_BOOTSTRAPS, share)
    gram = np.array([np.bincount(codes, a * b) for a, b in itertools.product(error.T, repeat=2)])
    return _best_on_simplex((counts @ gram.T).reshape(-1, len(means), len(means))).mean(axis=0)


def mixture_weights(probabilities: np.ndarray, task: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights [H] of H models by the probabilities [n, H] that each gave to the right class."""
    counts, codes = _bootstraps(task, rng, N_MIXTURES, SHARE)
    weights = np.full((len(counts), probabilities.shape[1]), 1 / probabilities.shape[1])
    total = (counts @ np.bincount(codes))[:, None]
    row_counts = counts[:, codes]
    for _ in range(N_EM_STEPS):
        weights *= (row_counts / (weights @ probabilities.T)) @ probabilities / total
    return weights.mean(axis=0)


def blend_heads(
    numbers: list[list[Prediction]], targets: list[np.ndarray], tasks: list[np.ndarray], scales: list[Scale],
    rng: np.random.Generator,
) -> tuple[np.ndarray, int, Calibration]:  # fmt: skip
    """From held-out predictions at each bucket, one of each head, with the true y [n] and the task [n] of each row:
    weights [B, heads], the head whose density fits best, and the calibration of its intervals."""
    blend: list[np.ndarray] = []
    for bucket, y, task in zip(numbers, targets, tasks, strict=True):
        # a bucket that no task is large enough for takes after the one before it
        blend.append(blend_weights([number.mean for number in bucket], y, task, rng) if len(y) else blend[-1])
    fits = [
        sum(log_density(bucket[h], scale, y).sum() for bucket, y in zip(numbers, targets, strict=True))
        for h, scale in enumerate(scales)
    ]
    main = int(np.argmax(fits))
    return np.array(blend), main, learn_intervals(BUCKETS, [bucket[main] for bucket in numbers], targets, tasks, scales[main])


def blend_numbers(
    numbers: list[Prediction], blend: np.ndarray, main: int, calibration: Calibration, shots: np.ndarray
) -> Prediction:
    """The main head's prediction with the mean of all heads, by weights [B, heads] at each row's number of shots [n]."""
    weights = [between_buckets(calibration.shots, column, shots) for column in blend.T]
    mean = sum(weight * number.mean for weight, number in zip(weights, numbers, strict=True))
    return numbers[main]._replace(mean=mean)


def _bootstraps(task: np.ndarray, rng: np.random.Generator, n_draws: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """How often each task was drawn, float64 [bootstraps, T], and the code [n] of each row's task."""
    _, codes = np.unique(task, return_inverse=True)
    n_tasks = codes.max() + 1
    counts = rng.multinomial(max(2, int(share * n_tasks)), np.full(n_tasks, 1 / n_tasks), size=n_draws)
    return counts.astype(float), codes


def _best_on_simplex(gram: np.ndarray) -> np.ndarray:
    """Convex weights [K, H] that minimise wᵀGw, for K Gram matrices [K, H, H]."""
    K, H, _ = gram.shape
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] + 1e-300
    gram = gram / size + 1e-9 * np.eye(H)
    best, weights = np.full(K, np.inf), np.zeros((K, H))
    for S in map(list, itertools.chain.from_iterable(itertools.combinations(range(H), r) for r in range(1, H + 1))):
        w = np.linalg.solve(gram[:, S][:, :, S], np.ones((K, len(S), 1)))[:, :, 0]
        w /= w.sum(axis=1, keepdims=True)
        value = np.einsum("ki,kij,kj->k", w, gram[:, S][:, :, S], w)
        better = (w >= 0).all(axis=1) & (value < best)
        best[better] = value[better]
        weights[better] = 0
        weights[np.ix_(better, S)] = w[better]
    return weights
