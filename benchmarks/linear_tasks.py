"""Do machines find the columns in which tasks differ, and how near do they come to one who knows?

    python benchmarks/linear_tasks.py

The case that regularised multi-task learning is made for: w_t ~ N(0, diag(1, .64, .49, .36, .25)), x ~ N(0, I) on these five
columns and 0 to 15 more that mean nothing, y = wᵀx + 0.1 ε; 200 meta-train tasks of 5 rows, 200 unseen ones with 5 rows shown.
"One who knows" has the prior, the noise and the relevant columns: the posterior mean of y, or for its sign the posterior
probability by Gibbs sampling (Albert & Chib 1993). Numbers: root of the nmse of 50 query rows a task. Classes: share of
wrong signs.
"""

import argparse

import numpy as np
import pandas as pd
from scipy import stats

from tables import add_quick, show
from upstairs.learners import learner_class

VARIANCE, NOISE = np.array([1, 0.64, 0.49, 0.36, 0.25]), 0.1
LEARNERS = ["svm", "hierarchical-ridge", "forest", "pooled-shift", "pooled", "task-ridge"]
TASKS, ROWS, QUERY = 200, 5, 50
SWEEPS, WARM = 4000, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, irrelevant=[0, 10], seeds=[0])
    parser.add_argument("--irrelevant", nargs="*", type=int, default=[0, 5, 10, 15])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--learners", nargs="*", default=LEARNERS)
    args = parser.parse_args()
    for classify in (False, True):
        rows = [_score(args.learners, n, seed, classify) for n in args.irrelevant for seed in args.seeds]
        table = pd.DataFrame(rows).groupby("irrelevant").mean()
        show("share of wrong signs" if classify else "root of nmse", table.round(4), 4)
        show("over that of one who knows", table.div(table["one who knows"], axis=0).drop(columns="found"), 2)


def _score(learners: list[str], n_irrelevant: int, seed: int, classify: bool) -> dict:
    rng = np.random.default_rng(seed)
    X, y, task = _rows(rng, ROWS, n_irrelevant)
    w = rng.normal(size=(TASKS, 5)) * np.sqrt(VARIANCE)
    support, y_support, _ = _rows(rng, ROWS, n_irrelevant, w)
    query, y_query, of_query = _rows(rng, QUERY, n_irrelevant, w)
    known = _signs_known if classify else _numbers_known
    row = {"irrelevant": n_irrelevant, "one who knows": _error(known(support, y_support, query, rng), y_query, classify)}
    for name in learners:
        own = {"kernel": "linear"} if name == "svm" else {}
        meta = learner_class(name, classify)(random_state=seed, **own).fit(X, y > 0 if classify else y, groups=task)
        models = meta.adapt_tasks(support, y_support > 0 if classify else y_support, groups=task)
        if classify:
            answer = models.predict_proba(query, groups=of_query)[:, 1] - 0.5
        else:
            answer = models.predict(query, groups=of_query)
        row[name] = _error(answer, y_query, classify)
        if name == "svm":
            row["found"] = len(set(np.argsort(-meta.relevance_)[:5]) & set(range(5)))
    return row


def _rows(rng: np.random.Generator, n: int, n_irrelevant: int, w: np.ndarray | None = None):
    w = rng.normal(size=(TASKS, 5)) * np.sqrt(VARIANCE) if w is None else w
    task = np.repeat(np.arange(TASKS), n)
    X = rng.normal(size=(len(task), 5 + n_irrelevant))
    return X, (X[:, :5] * w[task]).sum(axis=1) + NOISE * rng.normal(size=len(task)), task


def _numbers_known(support: np.ndarray, y: np.ndarray, query: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    X, Y, Q = support[:, :5].reshape(TASKS, ROWS, 5), y.reshape(TASKS, ROWS), query[:, :5].reshape(TASKS, QUERY, 5)
    precision = np.swapaxes(X, 1, 2) @ X / NOISE**2 + np.diag(1 / VARIANCE)
    mean = np.linalg.solve(precision, np.einsum("tni,tn->ti", X, Y)[..., None] / NOISE**2)
    return (Q @ mean).ravel()


def _signs_known(support: np.ndarray, y: np.ndarray, query: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """P(y > 0) − ½: y of the support is drawn given w and its sign, w given y, in turns."""
    X, sign = support[:, :5].reshape(TASKS, ROWS, 5), np.sign(y).reshape(TASKS, ROWS)
    Q, share = query[:, :5].reshape(TASKS, QUERY, 5), np.zeros((TASKS, QUERY))
    covariance = np.linalg.inv(np.swapaxes(X, 1, 2) @ X / NOISE**2 + np.diag(1 / VARIANCE))
    root, w = np.linalg.cholesky(covariance), np.zeros((TASKS, 5))
    for sweep in range(SWEEPS):
        f = np.einsum("tni,ti->tn", X, w)
        low = stats.norm.cdf(-sign * f / NOISE)
        drawn = np.clip(low + rng.random(f.shape) * (1 - low), 1e-12, 1 - 1e-12)
        latent = f + sign * NOISE * stats.norm.ppf(drawn)
        mean = np.einsum("tij,tnj,tn->ti", covariance, X, latent) / NOISE**2
        w = mean + np.einsum("tij,tj->ti", root, rng.normal(size=w.shape))
        if sweep >= WARM:
            share += stats.norm.cdf(np.einsum("tni,ti->tn", Q, w) / NOISE) / (SWEEPS - WARM)
    return share.ravel() - 0.5


def _error(answer: np.ndarray, y: np.ndarray, classify: bool) -> float:
    return float(((answer > 0) != (y > 0)).mean() if classify else np.sqrt(((answer - y) ** 2).mean() / (y**2).mean()))


if __name__ == "__main__":
    main()
