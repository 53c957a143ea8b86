"""How much of a prediction comes from one model and how much from a second, bolder one.

exp(m + v/2) is the right mean where the log model is right, and wild where it isn't: heavy tails, or one giant task. A line
reaches tasks beyond those seen, or misleads there. So the two are mixed (y and log y on the user's own scale, at each number of
shots) with the weight that would have been best for held-out tasks

    ŵ = Σ (y − ŷ_1)(ŷ_2 − ŷ_1) / Σ (ŷ_2 − ŷ_1)²,    clipped to [0, 1],

averaged over bootstraps of a quarter of the *tasks*: where few tasks decide, their coming and going draws the weight towards
the middle.
"""

import numpy as np

from upstairs.calibration import Calibration, between_buckets, learn_intervals
from upstairs.episodes import BUCKETS
from upstairs.prediction import Prediction, log_density
from upstairs.target import Scale

__all__ = ["blend_heads", "blend_numbers", "blend_weights"]

N_BOOTSTRAPS = 200
SHARE = 0.25


def blend_weights(means: list[np.ndarray], y: np.ndarray, task: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights [heads] of one or two means [n] of y [n]; ``task`` [n] names each row's task."""
    if len(means) == 1:
        return np.ones(1)
    gap = means[1] - means[0]
    _, codes = np.unique(task, return_inverse=True)
    n_tasks = codes.max() + 1
    top, bottom = np.bincount(codes, (y - means[0]) * gap), np.bincount(codes, gap**2)
    draws = rng.multinomial(max(2, int(SHARE * n_tasks)), np.full(n_tasks, 1 / n_tasks), size=N_BOOTSTRAPS)
    weight = np.clip((draws @ top + 1e-12) / (draws @ bottom + 2e-12), 0, 1).mean()
    return np.array([1 - weight, weight])


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
