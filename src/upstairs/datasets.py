"""Tables of many related tasks whose truth is known: to learn with, to test with, and to measure learners by.

    make_random_slopes     a line with its own constant and slopes in each task
    make_sinusoids         sine waves (Finn et al. 2017)
    make_sloped_sinusoids  nearly the same sine wave on a slope of each task's own (Rothfuss et al. 2021)
    make_families          sine waves, lines, parabolas and cubics in one table (Yao et al. 2019)
    make_grouped_forest    a forest's function plus a level by cluster (Hajjem et al. 2014)
    make_heavy_tails       levels and noise that multiply, as in trade and in city sales
    make_grouped_classes   a softmax whose logits shift by task

Each returns (X, y, groups, truth): ndarrays of n rows sorted by task, tasks 0 … T - 1, and what nobody knows of real data.
"""

from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from upstairs.errors import UpstairsError

__all__ = [
    "GROUPED_FOREST_SETTINGS",
    "Classes",
    "Data",
    "Numbers",
    "make_families",
    "make_grouped_classes",
    "make_grouped_forest",
    "make_heavy_tails",
    "make_random_slopes",
    "make_sinusoids",
    "make_sloped_sinusoids",
]

GROUPED_FOREST_SETTINGS = ((0.8, 0.9), (0.7, 2.7), (0.6, 4.5), (0.3, 0.2), (0.3, 0.5), (0.2, 0.8))
"""The settings (m, σ_b²) of Hajjem et al. (2014) that `make_grouped_forest` counts from 1."""

ROWS_OF_KNOWN = (1, 3, 5, 7, 9)
COLUMNS = 5


class Numbers(NamedTuple):
    """The truth about numbers.

    Attributes
    ----------
    mean : float64 [n]
        Expected y of each row, given its task.
    shared : float64 [n]
        The same of an average task (heavy tails: of log y; sinusoids: zero, since they average out).
    tasks : float64 [T, k]
        What is the task's own: level; level and slopes; amplitude and phase.
    noise_variance : float
        Of y about its mean (heavy tails: of log y).
    """

    mean: np.ndarray
    shared: np.ndarray
    tasks: np.ndarray
    noise_variance: float


class Classes(NamedTuple):
    """The truth about classes.

    Attributes
    ----------
    proba : float64 [n, C]
        Probability of each class, given the task.
    tasks : float64 [T, C]
        Shift of each task's logits.
    """

    proba: np.ndarray
    tasks: np.ndarray


class Data(NamedTuple):
    """Rows sorted by task: X float64 [n, p], y [n], groups int64 [n], and the truth behind them."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    truth: Numbers | Classes


def make_random_slopes(
    n_tasks=50, n_rows=20, n_columns=3, *, level_sd=1.0, slope_sd=0.5, noise_sd=0.5, random_state=None
) -> Data:
    """A line in each task: y = (γ_0 + b_t0) + Σ_j (γ_j + b_tj) x_j + ε, with x_j ~ N(0, 1).

    Parameters
    ----------
    n_tasks, n_rows, n_columns : int, default=50, 20, 3
        Rows are by task.
    level_sd, slope_sd, noise_sd : float, default=1.0, 0.5, 0.5
        Standard deviation of b_t0, of each b_tj, and of ε. The population's γ are drawn from N(0, 1).
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.tasks`` holds (b_t0, b_t1, ...).

    References
    ----------
    N. M. Laird, J. H. Ware: Random-effects models for longitudinal data. Biometrics 38 (1982), 963-974.

    Examples
    --------
    >>> from upstairs.datasets import make_random_slopes
    >>> X, y, groups, truth = make_random_slopes(n_tasks=10, random_state=0)
    >>> X.shape, truth.tasks.shape
    ((200, 3), (10, 4))
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    X = rng.normal(size=(len(groups), n_columns))
    gamma = rng.normal(size=1 + n_columns)
    b = rng.normal(size=(n_tasks, 1 + n_columns)) * np.append(level_sd, np.full(n_columns, slope_sd))
    D = np.column_stack([np.ones(len(X)), X])
    mean = (D * (gamma + b[groups])).sum(axis=1)
    return Data(X, mean + noise_sd * rng.normal(size=len(X)), groups, Numbers(mean, D @ gamma, b, noise_sd**2))


def make_sinusoids(n_tasks=100, n_rows=20, *, frequencies=(1.0, 1.0), noise_sd=0.0, random_state=None) -> Data:
    """Sine waves: y = A_t sin(ω_t x - φ_t) + ε, with A ~ U(0.1, 5), φ ~ U(0, π), x ~ U(-5, 5).

    Parameters
    ----------
    n_tasks, n_rows : int, default=100, 20
        Rows are by task.
    frequencies : (low, high), default=(1.0, 1.0)
        ω ~ U(low, high): 1 in Finn et al. (2017), (0.8, 1.2) in Li et al. (2017).
    noise_sd : float, default=0.0
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.tasks`` holds (A, φ, ω).

    References
    ----------
    C. Finn, P. Abbeel, S. Levine: Model-agnostic meta-learning for fast adaptation of deep networks. ICML (2017).
    Z. Li, F. Zhou, F. Chen, H. Li: Meta-SGD: learning to learn quickly for few-shot learning. arXiv:1707.09835 (2017).
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    x = rng.uniform(-5, 5, len(groups))
    waves = np.column_stack([rng.uniform(low, high, n_tasks) for low, high in ((0.1, 5), (0, np.pi), frequencies)])
    amplitude, phase, frequency = waves[groups].T
    mean = amplitude * np.sin(frequency * x - phase)
    y = mean + noise_sd * rng.normal(size=len(x))
    return Data(x[:, None], y, groups, Numbers(mean, np.zeros(len(x)), waves, noise_sd**2))


def make_sloped_sinusoids(n_tasks=20, n_rows=5, *, random_state=None) -> Data:
    """Few tasks that are much alike: y = A_t sin(1.5 (x - s_t)) + b_t x + c_t + ε, with x ~ U(-5, 5) and ε ~ N(0, 0.1²).

    A ~ U(0.7, 1.3), s ~ N(0, 0.1²), b ~ N(0.5, 0.2²), c ~ N(5, 0.1²).

    Parameters
    ----------
    n_tasks, n_rows : int, default=20, 5
        Rows are by task.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.tasks`` holds (A, s, b, c); ``truth.shared`` is the mean of all tasks.

    References
    ----------
    J. Rothfuss, V. Fortuin, M. Josifoski, A. Krause: PACOH: Bayes-optimal meta-learning with PAC-guarantees. ICML (2021).
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    x = rng.uniform(-5, 5, len(groups))
    amplitude = rng.uniform(0.7, 1.3, n_tasks)
    shift, slope, level = (rng.normal(mean, sd, n_tasks) for mean, sd in ((0, 0.1), (0.5, 0.2), (5, 0.1)))
    mean = amplitude[groups] * np.sin(1.5 * (x - shift[groups])) + slope[groups] * x + level[groups]
    # E sin(1.5 (x − s)) = sin(1.5 x) exp(−(1.5 · 0.1)² / 2)
    shared = np.exp(-(0.15**2) / 2) * np.sin(1.5 * x) + 0.5 * x + 5
    y = mean + 0.1 * rng.normal(size=len(x))
    return Data(x[:, None], y, groups, Numbers(mean, shared, np.column_stack([amplitude, shift, slope, level]), 0.01))


def make_families(n_tasks=100, n_rows=20, *, noise_sd=0.3, random_state=None) -> Data:
    """Each task is drawn from one of four families of functions of x ~ U(-5, 5), with ε ~ N(0, noise_sd²) added:

    ======  =======================  ===================================================================================
    sine    a sin(ωx) + b            a ~ U(0.1, 5), ω ~ U(0.8, 1.2), b ~ U(0, 2π)
    line    a x + b                  a, b ~ U(-3, 3)
    square  a x² + b x + c           a ~ U(-0.2, 0.2), b ~ U(-2, 2), c ~ U(-3, 3)
    cubic   a x³ + b x² + c x + d    a ~ U(-0.1, 0.1), b ~ U(-0.2, 0.2), c ~ U(-2, 2), d ~ U(-3, 3)
    ======  =======================  ===================================================================================

    Parameters
    ----------
    n_tasks, n_rows : int, default=100, 20
        Rows are by task.
    noise_sd : float, default=0.3
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.tasks`` holds the family, 0 to 3, then (a, ω) of the sine and (x³, x², x, 1) of the polynomial.

    References
    ----------
    H. Yao, Y. Wei, J. Huang, Z. Li: Hierarchically structured meta-learning. ICML (2019).
    H. Yao, X. Wu, Z. Tao, Y. Li, B. Ding, R. Li, Z. Li: Automated relational meta-learning. ICLR (2020).
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    x, family = rng.uniform(-5, 5, len(groups)), rng.randint(4, size=n_tasks)
    wave = np.column_stack([rng.uniform(0.1, 5, n_tasks) * (family == 0), rng.uniform(0.8, 1.2, n_tasks)])
    largest = np.array([[0, 0, 0, np.pi], [0, 0, 3, 3], [0, 0.2, 2, 3], [0.1, 0.2, 2, 3]])[family]
    polynomial = rng.uniform(-1, 1, (n_tasks, 4)) * largest
    polynomial[family == 0, 3] += np.pi
    mean = wave[groups, 0] * np.sin(wave[groups, 1] * x) + (polynomial[groups] * np.vander(x, 4)).sum(axis=1)
    y = mean + noise_sd * rng.normal(size=len(x))
    # only the sine's level, π, and its wave don't average out
    shared = (np.pi + 2.55 * np.sin(x) * np.sinc(0.2 * x / np.pi)) / 4
    return Data(x[:, None], y, groups, Numbers(mean, shared, np.column_stack([family, wave, polynomial]), noise_sd**2))


def make_grouped_forest(setting=3, n_known=100, n_new=100, n_new_rows=20, *, random_state=None) -> Data:
    """The clusters of the MERF paper: y = m g(x) + b_t + ε, with x ~ N(0, I_3) and ε ~ N(0, 1).

    g(x) = 2 x_1 + x_2² + 4 · 1(x_3 > 0) + 2 x_3 log|x_1|

    Parameters
    ----------
    setting : int from 1 to 6, default=3
        Which (m, σ_b²) of ``GROUPED_FOREST_SETTINGS``.
    n_known : int, default=100
        Clusters to learn from, tasks 0 … n_known - 1: in turn of 1, 3, 5, 7 and 9 rows.
    n_new : int, default=100
        Clusters that come later, the tasks after these.
    n_new_rows : int, default=20
        Rows of each new cluster.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.tasks`` holds b_t.

    References
    ----------
    A. Hajjem, F. Bellavance, D. Larocque: Mixed-effects random forest for clustered data. Journal of Statistical Computation
    and Simulation 84 (2014), 1313-1328.
    """
    if setting not in range(1, 7):
        raise UpstairsError(f"setting must be a whole number from 1 to 6, but is {setting}.")
    signal, level_variance = GROUPED_FOREST_SETTINGS[setting - 1]
    sizes = np.append(np.resize(ROWS_OF_KNOWN, n_known), np.full(n_new, n_new_rows))
    rng, groups = check_random_state(random_state), np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(size=(len(groups), 3))
    shared = signal * (2 * X[:, 0] + X[:, 1] ** 2 + 4 * (X[:, 2] > 0) + 2 * X[:, 2] * np.log(np.abs(X[:, 0])))
    level = np.sqrt(level_variance) * rng.normal(size=len(sizes))
    mean = shared + level[groups]
    return Data(X, mean + rng.normal(size=len(X)), groups, Numbers(mean, shared, level[:, None], 1.0))


def make_heavy_tails(n_tasks=100, n_rows=30, *, level_sd=1.5, noise_sd=1.5, random_state=None) -> Data:
    """Everything multiplies: log y = b_t + ½ x_1 + ½ sin(2 x_2) + ½ x_1 · 1(x_3 > 0) + ε, with five columns x_j ~ N(0, 1).

    With ``noise_sd`` above 1, one row in a hundred holds 90 % of the squares of y.

    Parameters
    ----------
    n_tasks, n_rows : int, default=100, 30
        Rows are by task.
    level_sd, noise_sd : float, default=1.5, 1.5
        Standard deviation of b_t and ε, in logs.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        ``truth.mean`` is the expected y; ``truth.shared``, ``truth.tasks`` (b_t) and ``truth.noise_variance`` are of log y.

    References
    ----------
    J. Aitchison, J. A. C. Brown: The lognormal distribution. Cambridge (1957).
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    X = rng.normal(size=(len(groups), COLUMNS))
    shared = (X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 0] * (X[:, 2] > 0)) / 2
    level = level_sd * rng.normal(size=n_tasks)
    log_y = shared + level[groups]
    y = np.exp(log_y + noise_sd * rng.normal(size=len(X)))
    return Data(X, y, groups, Numbers(np.exp(log_y + noise_sd**2 / 2), shared, level[:, None], noise_sd**2))


def make_grouped_classes(n_tasks=100, n_rows=20, n_classes=4, *, level_sd=1.0, slope_sd=0.5, random_state=None) -> Data:
    """Classes by a softmax: logit_c = b_tc + (γ_c + s_tc) · x, with five columns x_j ~ N(0, 1), of which three matter.

    Parameters
    ----------
    n_tasks, n_rows : int, default=100, 20
        Rows are by task.
    n_classes : int, default=4
    level_sd, slope_sd : float, default=1.0, 0.5
        Standard deviation of each b_tc and of each s_tc. The population's γ are drawn from N(0, 1).
    random_state : int, RandomState or None, default=None

    Returns
    -------
    data : Data
        y holds the codes 0 … C - 1.

    References
    ----------
    N. E. Breslow, D. G. Clayton: Approximate inference in generalized linear mixed models. JASA 88 (1993), 9-25.
    """
    rng, groups = _start(n_tasks, n_rows, random_state)
    X = rng.normal(size=(len(groups), COLUMNS))
    gamma, slopes = rng.normal(size=(3, n_classes)), slope_sd * rng.normal(size=(n_tasks, 3, n_classes))
    level = level_sd * rng.normal(size=(n_tasks, n_classes))
    logits = level[groups] + (X[:, :3, None] * (gamma + slopes[groups])).sum(axis=1)
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    y = (rng.uniform(size=(len(X), 1)) > proba.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return Data(X, y, groups, Classes(proba, level))


def _start(n_tasks: int, n_rows: int, random_state) -> tuple[np.random.RandomState, np.ndarray]:
    return check_random_state(random_state), np.repeat(np.arange(n_tasks), n_rows)
