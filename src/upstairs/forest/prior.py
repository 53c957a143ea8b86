"""The prior of the deviation, learned on episodes: what support rows of a task should change in the prediction of its others.

    r_t(x) = prior mean + g_t(x) + ε,   ε ~ N(0, σ²),   g_t ~ GP(0, σ² k)        (k: `forest.kernel`)

Level mixing: differences of f_b inside a task carry no information once its level is seen. With
φ̄_q = (Σ_{i∈S} φ_i + φ_q) / (s + 1), the prior mean of any row when q is asked is ρ φ + (1 − ρ) φ̄_q, so that

    μ_q = f_w(q) + ρ φ_q + (1 − ρ) φ̄_q + k_qᵀ A⁻¹ [r_S − ρ φ_S − (1 − ρ) φ̄_q 1],    A = K_SS + I
    v_q = σ² (1 + k_qq − k_qᵀ A⁻¹ k_q)

and the parameters minimise, over buckets b of support size with errors e of the queries,

    L = mean_b [ 0.7·½ log MSE_b + 0.3·½ mean(log v + e²/v) ] + penalty

(for two classes: the mean log loss at sigmoid(μ / √(1 + π v / 8)), with σ² = 1 and the posterior of `upstairs.gaussian`)
by L-BFGS-B with the exact gradient (`forest.gradient`). A component that does not pay goes to its floor by itself; there is no
selection step.
"""

import functools

import numpy as np
from scipy import optimize
from scipy.special import expit, logit

from upstairs.episodes import Episodes
from upstairs.forest.gradient import EpisodeData, alike_weights, gather, gradient_of, predict_queries
from upstairs.forest.kernel import FeatureMap, Prior, Rows

__all__ = ["learn_priors"]

PENALTY, CLASS_PENALTY = 2e-4, 6e-5
SLOPE_PENALTY = 20.0
"""Over the number of rows, of each slope squared: a prior of variance 1/40, which fifty rows hardly move."""
FEW = 10
"""Components: where there are more, they share what so many may vary, and slopes cost more."""
SQUARED_SHARE = 0.7
WARM_UP_EPISODES, MOST_STEPS, TOLERANCE = 300, (120, 25), 1e-5
BLIND_STEPS = 4
"""From the prior of all tasks to one that forgot a fold of them."""
LEAST_THETA, MOST_THETA, MOST_CLASS_THETA = 1e-5, 1e3, 8.0


def learn_priors(
    rows: Rows, target: np.ndarray, episodes: Episodes, fold: np.ndarray, features: FeatureMap, level: float, sigma2: float,
    classify: bool, rng: np.random.Generator,
) -> tuple[Prior, tuple[Prior, ...]]:  # fmt: skip
    """Minimise L over the episodes, for rows [n] and their targets [n] (u, or 0 and 1), from a first guess of the variances.

    Beside the prior of all tasks, for each fold [T] of them one that forgot it: what is judged on a task must not have seen it.
    """
    most = MOST_CLASS_THETA if classify else MOST_THETA
    start = _first_guess(features, float(np.clip(level, 0.01, min(100.0, most))), sigma2, rng)
    data, fold = gather(rows, target, episodes, features), fold[episodes.task]
    many = max(1.0, len(start.linear) / FEW)
    minimise = functools.partial(_minimise, most=most, slope_penalty=many * SLOPE_PENALTY / len(target), classify=classify)
    # most of the way on few episodes: a step costs a fifth there
    warm = minimise(start, _some(data, slice(WARM_UP_EPISODES)), MOST_STEPS[0])
    prior = minimise(warm, data, MOST_STEPS[1])
    others = (np.flatnonzero(fold != k)[:WARM_UP_EPISODES] for k in range(fold.max() + 1))
    return prior, tuple(minimise(prior, _some(data, some), BLIND_STEPS) for some in others)


def _some(data: EpisodeData, which: slice | np.ndarray) -> EpisodeData:
    return EpisodeData(*(field[which] for field in data))


def _minimise(start: Prior, data: EpisodeData, steps: int, most: float, slope_penalty: float, classify: bool) -> Prior:
    """L on these episodes, by so many steps at most; where none has a support, nothing is learned."""
    if not data.n_support.any():
        return start
    objective = _class_objective if classify else _number_objective
    x = optimize.minimize(
        lambda x: objective(_unpack(x, start), data, slope_penalty), _pack(start), jac=True, method="L-BFGS-B",
        bounds=_bounds(start, most, classify), options={"maxiter": steps, "ftol": TOLERANCE},
    ).x  # fmt: skip
    return _unpack(x, start)


def _first_guess(features: FeatureMap, level: float, sigma2: float, rng: np.random.Generator) -> Prior:
    n_linear = 3 + len(features.numbers)
    linear = np.full(n_linear, 0.02)
    linear[0] = level
    return Prior(
        linear,
        0.05 * rng.normal(size=(2, n_linear)),
        np.full(len(features.categories), 0.02),
        np.full(len(features.bumps), 0.02),
        0.02,
        0.5,
        sigma2,
    )


def _pack(prior: Prior) -> np.ndarray:
    """Log variances, slopes as they are, logit ρ and log σ²."""
    variances = np.concatenate([prior.linear, alike_weights(prior)])
    return np.concatenate([np.log(variances), prior.slopes.ravel(), [logit(prior.rho), np.log(prior.sigma2)]])


def _unpack(x: np.ndarray, like: Prior) -> Prior:
    sizes = [len(like.linear), len(like.category), len(like.bump), 1, like.slopes.size]
    linear, category, bump, leaf, slopes, rest = np.split(x, np.cumsum(sizes))
    return Prior(
        np.exp(linear), slopes.reshape(like.slopes.shape), np.exp(category), np.exp(bump),
        float(np.exp(leaf[0])), float(expit(rest[0])), float(np.exp(rest[1])),
    )  # fmt: skip


def _bounds(start: Prior, most: float, classify: bool) -> list[tuple[float, float]]:
    n_variances = len(start.linear) + len(start.category) + len(start.bump) + 1
    middle, reach = np.log(start.sigma2), 0 if classify else 4
    return (
        [(np.log(LEAST_THETA), np.log(most))] * n_variances
        + [(-np.sqrt(most), np.sqrt(most))] * start.slopes.size
        + [(-6, 6), (middle - reach, middle + reach)]
    )


def _number_objective(prior: Prior, data: EpisodeData, slope_penalty: float) -> tuple[float, np.ndarray]:
    """L and its gradient in the packed parameters."""
    mean, variance, kept = predict_queries(prior, data, classify=False)
    error, variance, share = _queries(data, data.target) - mean, variance * prior.sigma2, _shares(data)
    n_buckets = share.sum()
    mse = np.maximum((error**2 * share).sum(axis=(0, 2)), 1e-12)
    nll = ((np.log(variance) + error**2 / variance) * share).sum()
    live = share.any(axis=(0, 2))
    value = (SQUARED_SHARE * np.log(mse[live]).sum() + (1 - SQUARED_SHARE) * nll) / 2 / n_buckets

    # g = ∂L/∂μ_q = −∂L/∂e_q, and ∂L/∂v_q
    share = share / n_buckets
    d_mean = -share * error * (SQUARED_SHARE / mse[None, :, None] + (1 - SQUARED_SHARE) / variance)
    d_variance = share * (1 - SQUARED_SHARE) / 2 * (1 / variance - error**2 / variance**2)
    gradient = gradient_of(prior, data, d_mean, d_variance * prior.sigma2, kept)
    return _add_penalty(prior, value, np.append(gradient, (d_variance * variance).sum()), PENALTY, slope_penalty)


def _class_objective(prior: Prior, data: EpisodeData, slope_penalty: float) -> tuple[float, np.ndarray]:
    """Mean log loss over buckets, and its gradient in the packed parameters."""
    mean, variance, kept = predict_queries(prior, data, classify=True)
    share = _shares(data)
    share = share / share.sum()
    shrink = 1 / np.sqrt(1 + np.pi * variance / 8)
    y = _queries(data, data.target)
    value = ((np.logaddexp(0, shrink * mean) - y * shrink * mean) * share).sum()
    slope = share * (expit(shrink * mean) - y)
    d_mean, d_variance = slope * shrink, -slope * mean * shrink**3 * np.pi / 16
    gradient = gradient_of(prior, data, d_mean, d_variance, kept)
    return _add_penalty(prior, value, np.append(gradient, 0.0), CLASS_PENALTY, slope_penalty)


def _add_penalty(
    prior: Prior, value: float, gradient: np.ndarray, penalty: float, slope_penalty: float
) -> tuple[float, np.ndarray]:
    """Every variance but the level's, and the slopes, cost a little, and each more where there are many."""
    theta = np.concatenate([prior.linear, alike_weights(prior)])
    theta[0] = 0.0
    unit = 0.01 / max(1.0, (len(theta) - 1) / FEW)
    value += penalty * np.log1p(theta / unit).sum() + slope_penalty * (prior.slopes**2).sum()
    slope = np.concatenate([penalty * theta / (unit + theta), 2 * slope_penalty * prior.slopes.ravel(), [0.0, 0.0]])
    return value, gradient + slope


def _queries(data: EpisodeData, values: np.ndarray) -> np.ndarray:
    """Values of the query rows [E, 1, Q]."""
    return values[:, None, data.alike.shape[2] :]


def _shares(data: EpisodeData) -> np.ndarray:
    """Share of each query in the mean over its bucket [E, B, Q]."""
    return data.used / np.maximum(data.used.sum(axis=(0, 2)), 1)[:, None]
