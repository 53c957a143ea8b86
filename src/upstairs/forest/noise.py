"""σ², the noise of a row, told from what the shared mean doesn't know.

With few rows nobody knows f, and its error looks like noise: out of fold, the residual of a row is e = ε + δ(x) + g_t(x), where
δ is the error of a model that never saw the task. A model that did see it errs in another way, e' = ε + δ'(x) + g_t(x). So a
product of the two keeps ε² and most of δ² goes; and weighing by the prior's A = K_SS + I takes g_t away, as in a likelihood:

    σ̂² = Σ_t e_tᵀ A_t⁻¹ e'_t / Σ_t n_t

What both models have wrong alike is left in, what the second one learned by heart of ε is missing; the two are of a size.
"""

import numpy as np

from upstairs.episodes import Episodes
from upstairs.forest.deviation import adapt_deviation
from upstairs.forest.inner import Head
from upstairs.forest.kernel import Rows, take
from upstairs.forest.shared_mean import predict_mean
from upstairs.levels import task_sums
from upstairs.tasks import Tasks, offsets_of

__all__ = ["noise_variance"]

N_EPISODES = 300
LEAST_SHARE = 0.1
"""Of the prior's σ², which counts as noise all that it can't explain."""


def noise_variance(head: Head, rows: Rows, u: np.ndarray, tasks: Tasks, fold: np.ndarray, episodes: Episodes) -> float:
    """σ² on the scale of u [n], from meta-train rows as seen out of their task's fold [T], by the supports of episodes."""
    prior, support = head.prior, episodes.support[:N_EPISODES]
    s, sizes = support[support >= 0], (support >= 0).sum(axis=1)
    if not len(s):
        return prior.sigma2
    offsets = offsets_of(sizes)

    def level_of(phi):
        return np.repeat((1 - prior.rho) * task_sums(phi, offsets) / np.maximum(sizes, 1), sizes)

    unseen = take(rows, s)
    which = np.zeros(len(sizes), int)
    deviation = adapt_deviation((prior,), which, head.features.bumps, unseen, u[s], offsets, classify=False)
    solved = deviation.alpha - level_of(unseen.f_b) * deviation.beta  # A⁻¹e
    f_w, phi = predict_mean(head.mean, tasks.X[s], (fold[tasks.task_of_row[s]] + 1) % (fold.max() + 1))
    other = u[s] - f_w - prior.rho * phi - level_of(phi)
    return max(float(solved @ other) / len(s), LEAST_SHARE * prior.sigma2)
