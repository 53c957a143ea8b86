"""Sine waves, lines, parabolas and cubics in one table: does one prior serve them all, and better than MAML does?

    python benchmarks/families.py                                             # minutes
    python benchmarks/families.py --quick                                     # does it run?
    python benchmarks/families.py --within-train --rules bayes --set learning_rate=0.001

`datasets.make_families`, printed by the script (Yao et al. 2019 and 2020, as far as we remember their settings: so our own
"maml" is the reference, not their tables). 10 rows of a new task are shown, with noise of standard deviation 0.3, and 100
asked; squared error about the truth without noise, over all new tasks and by family. ``SETTINGS`` were chosen with
``--within-train``, which only prints the error on held-out tasks of meta-train, noise and all.
"""

import argparse
import inspect
import time

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from learners import make_learner
from tables import add_quick, show, write
from upstairs.datasets import Data, make_families
from upstairs.episodes import BUCKETS

FAMILIES = ["sine", "line", "square", "cubic"]
SHOTS, N_QUERY, N_NEW, N_TASKS, N_ROWS, NOISE = 10, 100, 2000, 4000, 40, 0.3
COMMON = {
    "network": (40, 40), "n_pieces": 0, "n_folds": 2, "batch_tasks": 25, "patience": 10_000, "min_shots": SHOTS,
    "max_shots": SHOTS, "weight_decay": 0.0,
}  # fmt: skip
SETTINGS = {
    "maml": {"inner_steps": 5, "inner_rate": 0.05, "learning_rate": 1e-3, "n_steps": 3000},
    "bayes": {"learning_rate": 3e-3, "n_steps": 3000},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters instead of SETTINGS")
    parser.add_argument("--tasks", type=int, default=N_TASKS, help="to learn from; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    add_quick(parser, steps=200)
    parser.add_argument("--steps", type=int, help="instead of those of SETTINGS")
    parser.add_argument("--within-train", action="store_true", help="look at no new task")
    parser.set_defaults(learner="gradient")
    args = parser.parse_args()
    new = make_families(N_NEW, SHOTS + N_QUERY, noise_sd=NOISE, random_state=10_000 + args.seed)
    rows = [] if args.within_train else _references(new)
    rows += [_score(args, rule, new) for rule in args.rules]
    table = pd.DataFrame(rows).set_index("method")
    if "maml" in table.index and not args.within_train:
        table["maml over it"] = table.loc["maml", "all"] / table["all"]
    print(inspect.getsource(make_families))
    show(f"Squared error after {SHOTS} rows, ± 1.96 standard errors over new tasks", table)
    if not (args.steps or args.within_train or args.set) and args.rules == list(SETTINGS) and args.tasks == N_TASKS:
        write(args, "families", table)


def _score(args: argparse.Namespace, rule: str, new: Data) -> dict:
    X, y, groups, _ = make_families(args.tasks, N_ROWS, noise_sd=NOISE, random_state=args.seed)
    parameters = {"inner": rule} | COMMON | SETTINGS[rule] | ({"n_steps": args.steps} if args.steps else {})
    asked = argparse.Namespace(learner="gradient", set=[*(f"{k}={v}" for k, v in parameters.items()), *args.set])
    start = time.process_time()
    meta = make_learner(asked, "regression", args.seed).fit(X, y, groups=groups)
    cpu = time.process_time() - start
    held_out = y.var() * meta.info_.unseen_error[BUCKETS.index(SHOTS)]
    print(f"{rule:<6}step {meta.info_.n_steps:>6}  held out {held_out:.4f}  {cpu:.0f} s", flush=True)
    if args.within_train:
        return {"method": rule, "held out": held_out, "cpu_s": cpu}

    def answer(support: np.ndarray, query: np.ndarray) -> np.ndarray:
        adapted = meta.adapt_tasks(new.X[support], new.y[support], groups=new.groups[support])
        return np.asarray(adapted.predict(new.X[query], groups=new.groups[query]))

    return {"method": rule} | _errors(new, answer) | {"cpu_s": cpu, "n_steps": meta.info_.n_steps}


def _errors(new: Data, answer) -> dict:
    """Errors of ``answer(support, query) -> predictions``, both given as rows."""
    shown = np.arange(len(new.y)) % (SHOTS + N_QUERY) < SHOTS
    query = np.flatnonzero(~shown)
    predicted = answer(np.flatnonzero(shown), query)
    by_task, noisy = (((predicted - y[query]) ** 2).reshape(N_NEW, N_QUERY).mean(axis=1) for y in (new.truth.mean, new.y))
    errors = {"all": by_task.mean(), "±": 1.96 * by_task.std() / N_NEW**0.5}
    family = new.truth.tasks[:, 0]
    return errors | {name: by_task[family == f].mean() for f, name in enumerate(FAMILIES)} | {"with noise": noisy.mean()}


def _references(new: Data) -> list[dict]:
    """What never adapts; what knows the mean and covariance of all tasks together; what knows the families."""
    methods = {
        "best task-blind function": lambda support, query: new.truth.shared[query],
        "Gaussian process of the tasks' own covariance": lambda support, query: _process(new, support, query),
        "one who knows the families": lambda support, query: _mixture(new, support, query),
    }
    return [{"method": name} | _errors(new, answer) for name, answer in methods.items()]


def _models(x: np.ndarray) -> list[tuple]:
    """Given its family (and ω) a task is linear: basis, mean and variance of its weights, share of tasks."""
    cubes, ones = np.vander(x, 4), np.ones(len(x))
    of_cubes = np.array([0.1, 0.2, 2, 3]) ** 2 / 3
    sine = np.array([2.55, np.pi]), np.array([4.9**2, (2 * np.pi) ** 2]) / 12
    models = [(np.column_stack([np.sin(w * x), ones]), *sine, 0.25 / 41) for w in np.linspace(0.8, 1.2, 41)]
    polynomials = (cubes[:, 2:], np.array([3.0, 3.0])), (cubes[:, 1:], of_cubes[1:]), (cubes, of_cubes)
    return models + [(basis, np.zeros(len(variance)), variance, 0.25) for basis, variance in polynomials]


def _mixture(new: Data, support: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Posterior means of all families under Gaussian priors, weighed by how likely each makes the support."""
    s, q = support.reshape(N_NEW, SHOTS), query.reshape(N_NEW, N_QUERY)
    answers, evidence = [], []
    for basis, mean, variance, share in _models(new.X[:, 0]):
        answer, log_density = _condition(basis, mean, np.diag(variance), new.y, s, q)
        answers.append(answer)
        evidence.append(np.log(share) + log_density)
    weights = np.exp(np.array(evidence) - np.max(evidence, axis=0))
    return np.einsum("mt,mtq->tq", weights / weights.sum(axis=0), np.array(answers)).ravel()


def _process(new: Data, support: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The families' bases side by side, with the moments of all their weights: the best that is linear in a support's y."""
    bases, means, variances, shares = zip(*_models(new.X[:, 0]), strict=True)
    mean = np.concatenate([share * mean for share, mean in zip(shares, means, strict=True)])
    second = block_diag(*(w * (np.diag(v) + np.outer(m, m)) for w, v, m in zip(shares, variances, means, strict=True)))
    s, q = support.reshape(N_NEW, SHOTS), query.reshape(N_NEW, N_QUERY)
    return _condition(np.hstack(bases), mean, second - np.outer(mean, mean), new.y, s, q)[0].ravel()


def _condition(basis: np.ndarray, mean: np.ndarray, covariance: np.ndarray, y: np.ndarray, s: np.ndarray, q: np.ndarray):
    """Answers [T, Q] to query rows q given support rows s of tasks whose weights are N(mean, covariance), and the log density
    [T] of the supports."""
    B, residual = basis[s], y[s] - basis[s] @ mean
    of_support = B @ covariance @ B.swapaxes(1, 2) + NOISE**2 * np.eye(SHOTS)
    solved = np.linalg.solve(of_support, residual[..., None])
    weights = mean[:, None] + covariance @ (B.swapaxes(1, 2) @ solved)
    squares = (residual[:, None] @ solved)[:, 0, 0]
    return (basis[q] @ weights)[..., 0], -0.5 * (squares + np.linalg.slogdet(of_support)[1])


if __name__ == "__main__":
    main()
