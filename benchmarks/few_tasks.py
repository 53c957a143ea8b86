"""Are twenty tasks of five rows enough, or does the outer learning over-fit them?

    python benchmarks/few_tasks.py                                            # minutes
    python benchmarks/few_tasks.py --learners gradient --set n_steps=0 --within-train

The sinusoids of PACOH (Rothfuss et al. 2021), printed by the script: 20 tasks × 5 rows to learn from, 200 new tasks of which 5
rows are shown and 200 asked. Root mean squared error over all query rows; calibration error as there, |share of y below the
predicted quantile − its level|, a mean over 20 levels from 0.05 to 0.95, within each task and over all tasks together; means
over seeds ± 1.96 standard errors. Beside the learners: a Gaussian process fitted to each new task alone (scikit-learn,
likelihood maximised), one kernel for the residuals of all tasks, one process for the rows of all tasks, and the exact
posterior of one who knows how tasks are made. ``--within-train`` looks at no new task: it leaves each fifth of the 20 tasks
out, and asks for each of their rows after the other four.
"""

import argparse
import inspect
import warnings

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from learners import make_learner
from tables import add_quick, show, write
from upstairs.datasets import Data, make_sloped_sinusoids
from upstairs.learners import LEARNERS

N_TASKS, N_ROWS, N_NEW, N_QUERY = 20, 5, 200, 200
LEVELS = np.linspace(0.05, 0.95, 20)
ASKED = ["gradient", "forest", "hierarchical-ridge", "pooled-shift", "pooled", "task-ridge"]
KERNEL = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.1, 10)) + WhiteKernel(0.05, (1e-3, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", nargs="*", choices=list(LEARNERS), default=ASKED)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the learners")
    add_quick(parser, seeds=[0], learners=["forest", "hierarchical-ridge", "pooled-shift"])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--within-train", action="store_true", help="look at no new task")
    parser.set_defaults(learner="all")
    args = parser.parse_args()
    methods = {name: _learner(name, args.set) for name in args.learners} | REFERENCES
    rows = [row for seed in args.seeds for row in (_within if args.within_train else _unseen)(methods, seed)]
    results = pd.DataFrame(rows).groupby("method", sort=False)
    measures = [column for column in rows[0] if column not in ("method", "seed")]
    table = pd.concat([results[measures].mean(), 1.96 * results[measures].sem().add_prefix("± ")], axis=1)
    print(inspect.getsource(make_sloped_sinusoids))
    show(f"{N_ROWS} rows of a new task after {N_TASKS} tasks of {N_ROWS} rows, {len(args.seeds)} seeds", table)
    if not (args.within_train or args.set) and args.learners == ASKED:
        write(args, "few-tasks", table)


def _unseen(methods: dict, seed: int) -> list[dict]:
    seen = make_sloped_sinusoids(N_TASKS, N_ROWS, random_state=seed)
    new = make_sloped_sinusoids(N_NEW, N_ROWS + N_QUERY, random_state=10_000 + seed)
    first = np.arange(len(new.y)) % (N_ROWS + N_QUERY) < N_ROWS
    support, query = (Data(new.X[mask], new.y[mask], new.groups[mask], None) for mask in (first, ~first))
    rows = []
    for name, method in methods.items():
        quantiles, mean = method(seen, support, query.X, query.groups, seed)
        below = query.y[:, None] <= quantiles
        by_task = np.abs(below.reshape(N_NEW, N_QUERY, -1).mean(axis=1) - LEVELS).mean()
        rows.append(
            {
                "method": name,
                "seed": seed,
                "rmse": np.sqrt(np.mean((mean - query.y) ** 2)),
                "calibration by task": by_task,
                "calibration": np.abs(below.mean(axis=0) - LEVELS).mean(),
            }
        )
    return rows


def _within(methods: dict, seed: int) -> list[dict]:
    X, y, groups, _ = make_sloped_sinusoids(N_TASKS, N_ROWS, random_state=seed)
    place, rows = np.arange(len(y)) % N_ROWS, []
    for name, method in methods.items():
        error2 = []
        for fold in range(5):
            out = groups % 5 == fold
            seen = Data(X[~out], y[~out], groups[~out], None)
            # each held-out row is a task of its own, adapted to the four others
            pairs = [np.flatnonzero(out & (place != p)) for p in range(N_ROWS)]
            asked = [np.flatnonzero(out & (place == p)) for p in range(N_ROWS)]
            s, q = np.concatenate(pairs), np.concatenate(asked)
            of_s, of_q = (
                np.concatenate([N_TASKS * p + groups[part] for p, part in enumerate(parts)]) for parts in (pairs, asked)
            )
            _, mean = method(seen, Data(X[s], y[s], of_s, None), X[q], of_q, seed)
            error2.append((mean - y[q]) ** 2)
        rows.append({"method": name, "seed": seed, "rmse": np.sqrt(np.mean(error2))})
    return rows


def _learner(name: str, parameters: list[str]):
    def answer(seen: Data, support: Data, X: np.ndarray, groups: np.ndarray, seed: int):
        meta = make_learner(argparse.Namespace(learner=name, set=parameters), "regression", seed)
        models = meta.fit(seen.X, seen.y, groups=seen.groups).adapt_tasks(support.X, support.y, groups=support.groups)
        return models.predict_quantiles(X, LEVELS, groups=groups), models.predict(X, groups=groups)

    return answer


def _task_gp(seen: Data, support: Data, X: np.ndarray, groups: np.ndarray, seed: int):
    """Level, variance, length and noise by the likelihood of the support alone."""
    mean, sd = np.empty((2, len(X)))
    for task in np.unique(groups):
        s, q = support.groups == task, groups == task
        gp = GaussianProcessRegressor(KERNEL, normalize_y=True, n_restarts_optimizer=2, random_state=seed)
        mean[q], sd[q] = gp.fit(support.X[s], support.y[s]).predict(X[q], return_std=True)
    return _gaussian(mean, sd)


def _one_gp(seen: Data, support: Data, X: np.ndarray, groups: np.ndarray, seed: int):
    """The rows of all tasks as those of one; new tasks are not adapted to."""
    gp = GaussianProcessRegressor(KERNEL, normalize_y=True, n_restarts_optimizer=2, random_state=seed)
    return _gaussian(*gp.fit(seen.X, seen.y).predict(X, return_std=True))


def _shared_kernel(seen: Data, support: Data, X: np.ndarray, groups: np.ndarray, seed: int):
    """The one process as the mean, and one kernel for what tasks leave of it, by the likelihood of all tasks."""
    gp = GaussianProcessRegressor(KERNEL, normalize_y=True, n_restarts_optimizer=2, random_state=seed).fit(seen.X, seen.y)
    by_task = [seen.groups == task for task in np.unique(seen.groups)]
    parts = [
        GaussianProcessRegressor(KERNEL, optimizer=None).fit(seen.X[t], seen.y[t] - gp.predict(seen.X[t])) for t in by_task
    ]
    grid = np.array([[np.log(v), np.log(length), np.log(n)] for v in (0.03, 0.1, 0.3, 1, 3)
                     for length in (0.3, 1, 2, 4, 8) for n in (0.01, 0.03, 0.1, 0.3)])  # fmt: skip
    theta = max(grid, key=lambda theta: sum(part.log_marginal_likelihood(theta) for part in parts))
    mean, sd = gp.predict(X), np.empty(len(X))
    for task in np.unique(groups):
        s, q = support.groups == task, groups == task
        own = GaussianProcessRegressor(KERNEL.clone_with_theta(theta), optimizer=None)
        own.fit(support.X[s], support.y[s] - gp.predict(support.X[s]))
        part, sd[q] = own.predict(X[q], return_std=True)
        mean[q] += part
    return _gaussian(mean, sd)


def _exact(seen: Data, support: Data, X: np.ndarray, groups: np.ndarray, seed: int):
    """Linear in (sin 1.5x, cos 1.5x, x, 1), with the moments that tasks are made with."""
    second = 1 + 0.6**2 / 12
    damped, twice = np.exp(-(0.15**2) / 2), np.exp(-2 * 0.15**2)
    prior = np.array([damped, 0, 0.5, 5])
    variance = np.array([second * (1 + twice) / 2 - damped**2, second * (1 - twice) / 2, 0.04, 0.01])
    mean, sd = np.empty((2, len(X)))
    for task in np.unique(groups):
        q = groups == task
        B, Q = _basis(support.X[support.groups == task]), _basis(X[q])
        covariance = np.linalg.inv(np.diag(1 / variance) + B.T @ B / 0.01)
        mean[q] = Q @ (prior + covariance @ B.T @ (support.y[support.groups == task] - B @ prior) / 0.01)
        sd[q] = np.sqrt(0.01 + np.einsum("nk,kl,nl->n", Q, covariance, Q))
    return _gaussian(mean, sd)


def _basis(X: np.ndarray) -> np.ndarray:
    return np.column_stack([np.sin(1.5 * X), np.cos(1.5 * X), X, np.ones(len(X))])


def _gaussian(mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mean[:, None] + sd[:, None] * norm.ppf(LEVELS), mean


REFERENCES = {
    "GP of each task": _task_gp,
    "one GP for all rows": _one_gp,
    "the same, and a shared kernel by task": _shared_kernel,
    "one who knows": _exact,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
