"""Today's methods behind the little of our contract that the benchmarks ask for, so that a reader can run them again.

    python benchmarks/battery.py --learner gpboost --panels exam --shots 0 5
    python benchmarks/known_tasks.py --learner forest --peers gpboost merf

A peer is one function: it learns from rows of tasks, and returns a function that answers for rows of tasks, known or not.
`Peer` makes a learner of it that *refits* on meta-train and all supports together whenever it is to adapt, for none of them
can do otherwise: so a peer is told the supports of all unseen tasks at once, more than a learner that adapts is told. Those
that look at one task alone (``task-lgbm``, ``task-gp``) need no refit. Large tables are thinned to 60,000 rows, evenly over
tasks.

A ridge of each task, pooled LightGBM, the same with a shrunk shift and a mixed model with slopes are learners of `upstairs`
(``task-ridge``, ``pooled``, ``pooled-shift``, ``hierarchical-ridge``), and need no file here.

    gpboost     F. Sigrist: Gaussian process boosting. JMLR 23 (2022).
    merf        A. Hajjem, F. Bellavance, D. Larocque: Mixed-effects random forest for clustered data. JSCS 84 (2014).
"""

import importlib.util
import logging
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from panels import evenly

__all__ = ["PEERS", "Forecast", "Peer", "Rows", "missing_package"]

MOST_ROWS = 60_000
UNKNOWN = -1
"""Task of rows of which no task is told."""


class Rows(NamedTuple):
    """Rows to learn from: features, numbers or classes 0 and 1, and the code of each row's task, from 0 on."""

    X: pd.DataFrame
    y: np.ndarray
    task: np.ndarray
    kind: str


class Forecast(NamedTuple):
    """Mean [n], or probability of class 1; and the standard deviation of a new row, where the peer has one."""

    mean: np.ndarray
    sd: np.ndarray | None = None


Answer = Callable[[pd.DataFrame, np.ndarray], Forecast]


class Peer:
    """A peer as a learner: ``fit``, ``adapt``, ``adapt_tasks``, and what they give answers."""

    def __init__(self, name: str, kind: str, random_state: int = 0):
        self.name, self.kind, self.random_state = name, kind, random_state
        self.classes_ = np.array([0, 1])

    def fit(self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> "Peer":
        X, y, task = pd.DataFrame(X).reset_index(drop=True), np.asarray(y), np.asarray(groups)
        kept = np.flatnonzero(evenly(task, MOST_ROWS, self.random_state))
        self.rows = Rows(X.iloc[kept].reset_index(drop=True), y[kept].astype(float), task[kept], self.kind)
        return self._learn()

    def adapt_tasks(self, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray) -> "Peer":
        adapted = Peer(self.name, self.kind, self.random_state)
        X = pd.concat([self.rows.X, pd.DataFrame(X)], ignore_index=True)
        y, task = np.concatenate([self.rows.y, y]), np.concatenate([self.rows.task, groups])
        adapted.rows = Rows(X, y, task, self.kind)
        return adapted._learn()

    def adapt(self, X: pd.DataFrame, y: np.ndarray) -> "Peer":
        task = self.rows.task.max() + 1
        adapted = self.adapt_tasks(X, y, np.full(len(y), task))
        adapted.own_task = task
        return adapted

    def predict(self, X: pd.DataFrame, groups: np.ndarray | None = None) -> np.ndarray:
        mean = self._ask(X, groups).mean
        return mean if self.kind == "regression" else (mean > 0.5).astype(int)

    def predict_interval(self, X: pd.DataFrame, coverage: float = 0.9, groups: np.ndarray | None = None) -> np.ndarray:
        mean, sd = self._ask(X, groups)
        half = np.full(len(mean), np.nan) if sd is None else norm.ppf((1 + coverage) / 2) * sd
        return np.column_stack([mean - half, mean + half])

    def predict_proba(self, X: pd.DataFrame, groups: np.ndarray | None = None) -> np.ndarray:
        mean = self._ask(X, groups).mean
        return np.column_stack([1 - mean, mean])

    own_task = UNKNOWN

    def _learn(self) -> "Peer":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of their optimisers, and of what they make of today's pandas
            self.answer = PEERS[self.name].learn(self.rows, self.random_state)
        return self

    def _ask(self, X: pd.DataFrame, groups: np.ndarray | None) -> Forecast:
        task = np.full(len(X), self.own_task) if groups is None else np.asarray(groups)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.answer(pd.DataFrame(X).reset_index(drop=True), task)


def missing_package(name: str) -> str | None:
    """The package that a peer needs, if it isn't installed."""
    package = PEERS[name].package if name in PEERS else None
    return None if package is None or importlib.util.find_spec(package) else package.replace("sklego", "scikit-lego")


def _lgbm_taskid(rows: Rows, seed: int) -> Answer:
    """LightGBM that sees the task twice: as a category, and as the mean target of its other rows, shrunk."""
    X, y, task, kind = rows
    known, code = np.unique(task, return_inverse=True)
    fold = np.random.default_rng(seed).integers(FOLDS, size=len(y))
    encoded = np.empty(len(y))
    for k in range(FOLDS):
        encoded[fold == k] = _shrunk_means(task[fold != k], y[fold != k])(task[fold == k])
    means = _shrunk_means(task, y)

    def seen(X: pd.DataFrame, task: np.ndarray, mean: np.ndarray) -> pd.DataFrame:
        return X.assign(task_=pd.Categorical(task, known), task_mean_=mean)

    boosted = _boosted(seen(X, known[code], encoded), y, fold == 0, kind, seed, cat_smooth=10.0)
    return lambda X, task: Forecast(boosted(seen(X, task, means(task))))


def _task_lgbm(rows: Rows, seed: int) -> Answer:
    """LightGBM on a task's own rows, 100 rounds with leaves of 3 rows; meta-train gives the mean of a task without rows."""
    import lightgbm

    params = _boosting_parameters(rows.kind, seed) | {"min_data_in_leaf": 3, "num_leaves": 7, "min_data_in_bin": 1}

    def answer(own: Rows, X: pd.DataFrame) -> Forecast:
        if len(own.y) < 6 or np.ptp(own.y) == 0:  # no split is possible
            return Forecast(np.full(len(X), own.y.mean()))
        return Forecast(lightgbm.train(params, lightgbm.Dataset(own.X, own.y, params=params), 100).predict(X))

    return _one_by_one(rows, answer)


def _task_gp(rows: Rows, seed: int) -> Answer:
    """A Gaussian process of a task's own rows, likelihood maximised; for classes with Laplace's approximation."""
    from sklearn import gaussian_process as gp
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    design, spread = _design(rows.X), rows.y.std()
    smooth = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(3.0, (0.3, 30))

    def answer(own: Rows, X: pd.DataFrame) -> Forecast:
        D, Q = design(own.X)[:, 1:], design(X)[:, 1:]
        if len(own.y) < 2 or np.ptp(own.y) == 0:
            return Forecast(np.full(len(Q), own.y.mean()))
        if own.kind == "classification":
            fitted = gp.GaussianProcessClassifier(smooth, random_state=seed).fit(D, own.y)
            return Forecast(fitted.predict_proba(Q)[:, 1])
        kernel = smooth + WhiteKernel(0.1, (1e-3, 1))
        return Forecast(
            *gp.GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed).fit(D, own.y).predict(Q, True)
        )

    return _one_by_one(rows, answer, spread)


def _lmm(rows: Rows, seed: int) -> Answer:
    """A linear model with a random intercept and independent slopes of the numbers that vary within tasks, by REML.

    statsmodels doesn't always find these variances (as on exam); where it says so, the intercept alone varies.
    """
    from scipy.linalg import cho_factor, cho_solve, qr
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    design, y, task = _design(rows.X), rows.y, rows.task
    D = design(rows.X)
    _, R, order = qr(D, mode="economic", pivoting=True)  # it can't take columns that depend on each other
    kept = np.sort(order[: np.sum(np.abs(np.diag(R)) > 1e-8 * np.abs(R[0, 0]))])
    numbers = pd.DataFrame(D[:, 1 : 1 + _numbers(rows.X).shape[1]])
    varying = 1 + np.flatnonzero(numbers.groupby(task).transform("std").fillna(0).mean() > 0.05)
    for random in (np.append(0, varying), np.array([0])):
        alone = MixedLMParams.from_components(fe_params=np.ones(len(kept)), cov_re=np.eye(len(random)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # statsmodels puts its own filters before others when it is imported
            fitted = MixedLM(y, D[:, kept], groups=task, exog_re=D[:, random]).fit(free=alone, method="bfgs")
        if fitted.converged and np.isfinite(fitted.llf):
            break
    beta, C, noise = np.asarray(fitted.fe_params), np.asarray(fitted.cov_re), float(fitted.scale)
    left = y - D[:, kept] @ beta

    def answer(X: pd.DataFrame, of: np.ndarray) -> Forecast:
        Q = design(X)
        mean, variance = Q[:, kept] @ beta, noise + np.einsum("nk,kl,nl->n", Q[:, random], C, Q[:, random])
        for one in np.unique(of):
            own, asked = task == one, of == one
            if own.any():
                Z, K = D[np.ix_(own, random)], Q[np.ix_(asked, random)] @ C @ D[np.ix_(own, random)].T
                factor = cho_factor(Z @ C @ Z.T + noise * np.eye(len(Z)))
                mean[asked] += K @ cho_solve(factor, left[own])
                variance[asked] -= np.einsum("nk,kn->n", K, cho_solve(factor, K.T))
        return Forecast(mean, np.sqrt(variance))

    return answer


def _gpboost(rows: Rows, seed: int, slopes: bool = False) -> Answer:
    """Boosting with a random intercept, and slopes of all numbers if asked; as many rounds as four folds of tasks like best."""
    import gpboost
    from sklearn.model_selection import GroupKFold

    design, binary = _design(rows.X), rows.kind == "classification"
    params = {"objective": "binary", "metric": "binary_logloss"} if binary else {"objective": "regression_l2", "metric": "mse"}
    params |= {"learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 20, "verbose": -1, "num_threads": 1, "seed": seed}

    def slope_columns(X: pd.DataFrame, name: str) -> dict:
        return {name: design(X)[:, 1 : 1 + _numbers(X).shape[1]]} if slopes else {}

    def model():
        effects = {"group_data": rows.task} | slope_columns(rows.X, "group_rand_coef_data")
        if slopes:
            effects["ind_effect_group_rand_coef"] = [1] * effects["group_rand_coef_data"].shape[1]
        return gpboost.GPModel(**effects, likelihood="bernoulli_logit" if binary else "gaussian", num_parallel_threads=1)

    data = gpboost.Dataset(_codes(rows.X), rows.y, free_raw_data=False)
    folds = list(GroupKFold(4, shuffle=True, random_state=seed).split(rows.y, groups=rows.task))
    tried = gpboost.cv(params, data, model(), 500, folds=folds, early_stopping_rounds=20, verbose_eval=False)
    booster = gpboost.train(params, data, len(next(iter(tried.values()))), gp_model=model())

    def answer(X: pd.DataFrame, task: np.ndarray) -> Forecast:
        asked = {"group_data_pred": task} | slope_columns(X, "group_rand_coef_data_pred")
        told = booster.predict(_codes(X), **asked, predict_var=not binary, pred_latent=False)
        return Forecast(told["response_mean"], None if binary else np.sqrt(told["response_var"]))

    return answer


def _gpboost_slopes(rows: Rows, seed: int) -> Answer:
    return _gpboost(rows, seed, slopes=True)


def _merf(rows: Rows, seed: int) -> Answer:
    """A forest of 100 trees and random slopes of all numbers, 10 rounds of EM."""
    from merf import MERF
    from sklearn.ensemble import RandomForestRegressor

    logging.getLogger("merf").setLevel(logging.ERROR)
    design, width = _design(rows.X), 1 + _numbers(rows.X).shape[1]
    forest = RandomForestRegressor(100, min_samples_leaf=5, random_state=seed)
    fitted = MERF(forest, max_iterations=10)
    D = design(rows.X)
    fitted.fit(D[:, 1:], D[:, :width], pd.Series(rows.task), rows.y)

    def answer(X: pd.DataFrame, task: np.ndarray) -> Forecast:
        D = design(X)
        return Forecast(fitted.predict(D[:, 1:], D[:, :width], pd.Series(task)))

    return answer


def _scikit_lego(rows: Rows, seed: int) -> Answer:
    """A model of all rows and one of each task (ridge; trees for classes), weighed as ten rows to the task's own number."""
    from sklearn.linear_model import RidgeCV
    from sklearn.tree import DecisionTreeClassifier
    from sklego.meta import HierarchicalClassifier, HierarchicalRegressor

    design, binary = _design(rows.X), rows.kind == "classification"

    def frame(X: pd.DataFrame, task: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(design(X)[:, 1:]).add_prefix("x").assign(task=task)

    def weights(sizes) -> np.ndarray:
        return np.array([PRIOR_ROWS, *sizes[1:]])

    own = DecisionTreeClassifier(min_samples_leaf=10, random_state=seed) if binary else RidgeCV(np.logspace(-2, 4, 13))
    kind = HierarchicalClassifier if binary else HierarchicalRegressor
    fitted = kind(own, "task", shrinkage=weights).fit(frame(rows.X, rows.task), rows.y.astype(int) if binary else rows.y)

    def answer(X: pd.DataFrame, task: np.ndarray) -> Forecast:
        return Forecast(fitted.predict_proba(frame(X, task))[:, 1] if binary else fitted.predict(frame(X, task)))

    return answer


class Method(NamedTuple):
    """How a peer learns, the package that it needs beside ours, and what it can be asked for."""

    learn: Callable[[Rows, int], Answer]
    package: str | None = None
    kinds: tuple[str, ...] = ("regression", "classification")


PEERS = {
    "gpboost": Method(_gpboost, "gpboost"),
    "gpboost-slopes": Method(_gpboost_slopes, "gpboost"),
    "merf": Method(_merf, "merf", ("regression",)),
    "scikit-lego": Method(_scikit_lego, "sklego"),
    "lmm": Method(_lmm, "statsmodels", ("regression",)),
    "lgbm-taskid": Method(_lgbm_taskid),
    "task-lgbm": Method(_task_lgbm),
    "task-gp": Method(_task_gp),
}

FOLDS, PRIOR_ROWS = 5, 10.0
MOST_ROUNDS, PATIENCE = 2000, 50


def _one_by_one(rows: Rows, answer: Callable[[Rows, pd.DataFrame], Forecast], sd: float = np.nan) -> Answer:
    """Each task that is asked about by its own rows; the mean of all rows where there are none, and ``sd``."""

    def of_all(X: pd.DataFrame, task: np.ndarray) -> Forecast:
        means, sds = np.full(len(X), rows.y.mean()), np.full(len(X), sd)
        for one in np.unique(task):
            own, asked = rows.task == one, task == one
            if own.any():
                told = answer(Rows(rows.X[own], rows.y[own], rows.task[own], rows.kind), X[asked])
                means[asked], sds[asked] = told.mean, sd if told.sd is None else told.sd
        return Forecast(means, sds)

    return of_all


def _boosting_parameters(kind: str, seed: int) -> dict:
    params = {"objective": "regression" if kind == "regression" else "binary", "verbosity": -1, "num_threads": 1, "seed": seed}
    return params | {"learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 20}


def _boosted(X: pd.DataFrame, y: np.ndarray, late: np.ndarray, kind: str, seed: int, **more) -> Callable:
    """LightGBM on all rows, for as many rounds as were best for the late ones after the others."""
    import lightgbm

    params = _boosting_parameters(kind, seed) | more
    whole = lightgbm.Dataset(X, y, params=params, free_raw_data=False)
    seen, unseen = (whole.subset(np.flatnonzero(rows)) for rows in (~late, late))
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    rounds = lightgbm.train(params, seen, MOST_ROUNDS, [unseen], callbacks=[stop]).best_iteration
    return lightgbm.train(params, whole, max(rounds, 1)).predict


def _shrunk_means(task: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean target of each task as if ten rows of the overall mean were among its own."""
    known, code = np.unique(task, return_inverse=True)
    means = (np.bincount(code, y) + PRIOR_ROWS * y.mean()) / (np.bincount(code) + PRIOR_ROWS)
    return lambda asked: _of_task(known, means, asked, y.mean())


def _of_task(known: np.ndarray, values: np.ndarray, task: np.ndarray, otherwise: float) -> np.ndarray:
    """The value of each row's task; ``known`` is sorted."""
    place = np.minimum(np.searchsorted(known, task), len(known) - 1)
    return np.where(known[place] == task, values[place], otherwise)


def _numbers(X: pd.DataFrame) -> pd.DataFrame:
    return X.select_dtypes("number")


def _codes(X: pd.DataFrame) -> np.ndarray:
    """Categories as numbers, for boosters that don't know pandas' own."""
    return X.apply(lambda column: column.cat.codes if column.dtype == "category" else column).to_numpy(float)


def _design(X: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """1, numbers in units of their deviation about their mean (0 where missing), and levels but each column's first."""
    mean, scale = _numbers(X).mean(), _numbers(X).std().replace(0, 1)

    def build(X: pd.DataFrame) -> np.ndarray:
        numbers = ((_numbers(X) - mean) / scale).fillna(0).to_numpy()
        levels = X.select_dtypes("category")
        coded = pd.get_dummies(levels, drop_first=True).to_numpy(float) if levels.shape[1] else np.empty((len(X), 0))
        return np.column_stack([np.ones(len(X)), numbers, coded])

    return build
