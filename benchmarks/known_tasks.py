"""How good on tasks known from fit?

    python benchmarks/known_tasks.py --learner forest --panels exam hsb82 milk

20 % of each task's rows, drawn at random, are held out; the rest is fitted, and the held-out rows are predicted with their task
(``predict(X, groups=...)``). Beside the learner: LightGBM with the task as a category and its out-of-fold target encoding, the
hierarchical ridge as a mixed model with slopes, a random-intercept model (statsmodels) and GPBoost, where they are installed.
"""

import argparse
import importlib.util
import time
import warnings

import lightgbm
import numpy as np
import pandas as pd

from learners import add_learner_arguments, label_of, make_learner, warm_up
from panels import PANELS, Panel, load
from tables import show, write
from upstairs.learners import learner_class

HELD_OUT, N_FOLDS = 0.2, 5
MOST_ROUNDS, PATIENCE, PRIOR_ROWS = 2000, 50, 10.0
MOST_ROWS = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    parser.add_argument("--panels", nargs="+", choices=PANELS, default=PANELS, metavar="PANEL", help=", ".join(PANELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    args = parser.parse_args()
    for kind in {load(name).kind for name in args.panels}:
        warm_up(args, kind)
    rows = [row for name in args.panels for seed in args.seeds for row in _score(args, load(name), seed)]
    table = pd.DataFrame(rows).pivot_table(index="panel", columns="method", values="error", sort=False)
    ours = label_of(args)
    show("Error on held-out rows of known tasks (nmse, log loss)", table, 4)
    ratios = table.rdiv(table[ours], axis=0).drop(columns=ours)
    summary = pd.DataFrame({"ratio": np.exp(np.log(ratios).mean()), "panels won": (ratios < 1).sum(), "of": ratios.count()})
    show(f"{ours}: geometric mean ratio of its error to", summary)
    write(args, "known-tasks", table)


def _score(args: argparse.Namespace, panel: Panel, seed: int) -> list[dict]:
    train, test = _hold_out_rows(panel, seed)
    methods = {label_of(args): lambda *rows: _learner(make_learner(args, panel.kind, seed), *rows)}
    methods |= {name: PEERS[name] for name in args.peers if name != args.learner}
    scored = []
    for name, method in methods.items():
        start = time.process_time()
        predicted = method(panel, train, test)
        if predicted is not None:
            error, seconds = _error(panel, train, test, predicted), time.process_time() - start
            scored.append({"panel": panel.name, "seed": seed, "method": name, "error": error, "cpu_s": seconds})
            print(f"{panel.name:<14}seed {seed}  {name:<20}{error:.4f}  {seconds:6.1f} s", flush=True)
    return scored


def _hold_out_rows(panel: Panel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and to predict: a fifth of each task, at random; large panels are thinned evenly over tasks first."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(panel.task)), panel.task))
    sizes = np.bincount(panel.task)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    most = sizes.max()
    while np.minimum(sizes, most).sum() > MOST_ROWS:
        most = int(0.9 * most)
    kept = np.minimum(sizes, most)[panel.task[order]]
    test = rank < np.round(HELD_OUT * kept)
    return order[~test & (rank < kept)], order[test]


def _error(panel: Panel, train: np.ndarray, test: np.ndarray, predicted: np.ndarray) -> float:
    y = panel.y[test]
    if panel.kind == "regression":
        return float(((y - predicted) ** 2).sum() / ((y - panel.y[train].mean()) ** 2).sum())
    p = np.clip(predicted, 1e-6, 1 - 1e-6)
    return float(-np.where(y == 1, np.log(p), np.log1p(-p)).mean())


def _learner(meta, panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The mean, or the probability of class 1: all panels have two classes."""
    meta.fit(panel.X.iloc[train].reset_index(drop=True), panel.y[train], groups=panel.task[train])
    X = panel.X.iloc[test].reset_index(drop=True)
    if panel.kind == "regression":
        return np.asarray(meta.predict(X, groups=panel.task[test]))
    return np.asarray(meta.predict_proba(X, groups=panel.task[test]))[:, 1]


def _hierarchical_ridge(panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return _learner(learner_class("hierarchical-ridge", panel.kind != "regression")(random_state=0), panel, train, test)


def _lgbm_taskid(panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """LightGBM that sees the task twice: as a category, and as the mean target of its other rows, shrunk."""
    rng = np.random.default_rng(0)
    fold = rng.integers(N_FOLDS, size=len(train))
    task, y = panel.task[train], panel.y[train].astype(float)
    encoded = np.empty(len(train))
    for k in range(N_FOLDS):
        encoded[fold == k] = _task_means(task[fold != k], y[fold != k], task[fold == k])
    ids = range(panel.task.max() + 1)
    X, X_test = (panel.X.iloc[rows].assign(task_=pd.Categorical(panel.task[rows], ids)) for rows in (train, test))
    X, X_test = X.assign(task_mean_=encoded), X_test.assign(task_mean_=_task_means(task, y, panel.task[test]))
    params = {"objective": "regression" if panel.kind == "regression" else "binary", "verbosity": -1, "num_threads": 1}
    params |= {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "cat_smooth": 10.0, "seed": 0}
    whole = lightgbm.Dataset(X, y, params=params, free_raw_data=False)
    late = fold == 0
    seen, unseen = (whole.subset(np.flatnonzero(rows)) for rows in (~late, late))
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    rounds = lightgbm.train(params, seen, MOST_ROUNDS, [unseen], callbacks=[stop]).best_iteration
    return lightgbm.train(params, whole, max(rounds, 1)).predict(X_test)


def _task_means(task: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    n = max(task.max(initial=0), asked.max(initial=0)) + 1
    sums, counts = np.bincount(task, y, minlength=n), np.bincount(task, minlength=n)
    return ((sums + PRIOR_ROWS * y.mean()) / (counts + PRIOR_ROWS))[asked]


def _dummies(panel: Panel, rows: np.ndarray) -> np.ndarray:
    X = pd.get_dummies(panel.X, dummy_na=False, drop_first=True).astype(float)
    X = (X.fillna(X.mean()) - X.mean()) / X.std().replace(0, 1)
    return np.column_stack([np.ones(len(rows)), X.to_numpy()[rows]])


def _lmm(panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """A random-intercept model by REML; statsmodels has none for classes that would be fair."""
    if panel.kind != "regression" or importlib.util.find_spec("statsmodels") is None:
        return None
    from statsmodels.regression.mixed_linear_model import MixedLM

    D, task, y = _dummies(panel, train), panel.task[train], panel.y[train]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optimiser
        jitter = 1e-6 * np.random.default_rng(0).normal(size=D.shape)  # it can't take columns that depend on each other
        fitted = MixedLM(y, D + jitter, groups=task).fit()
    b, w = float(fitted.cov_re[0, 0]), fitted.scale
    n = panel.task.max() + 1
    sums, counts = np.bincount(task, y - D @ fitted.fe_params, minlength=n), np.bincount(task, minlength=n)
    return _dummies(panel, test) @ fitted.fe_params + (b * sums / (counts * b + w))[panel.task[test]]


def _gpboost(panel: Panel, train: np.ndarray, test: np.ndarray) -> np.ndarray | None:
    """Boosting with a random intercept, 200 rounds."""
    if importlib.util.find_spec("gpboost") is None:
        return None
    import gpboost

    X, X_test = (panel.X.iloc[rows].apply(lambda c: c.cat.codes if c.dtype == "category" else c) for rows in (train, test))
    likelihood = "gaussian" if panel.kind == "regression" else "bernoulli_logit"
    model = gpboost.GPModel(group_data=panel.task[train], likelihood=likelihood)
    params = {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "verbose": 0, "num_threads": 1}
    booster = gpboost.train(params, gpboost.Dataset(X, panel.y[train]), 200, gp_model=model)
    predicted = booster.predict(X_test, group_data_pred=panel.task[test], pred_latent=False)
    return predicted["response_mean"]


PEERS = {"lgbm-taskid": _lgbm_taskid, "hierarchical-ridge": _hierarchical_ridge, "lmm": _lmm, "gpboost": _gpboost}

if __name__ == "__main__":
    main()
