"""Do the gradient rules learn the sine waves of MAML and Meta-SGD as well as published?

    python benchmarks/sinusoids.py                                            # minutes
    python benchmarks/sinusoids.py --quick                                    # does it run?
    python benchmarks/sinusoids.py --within-train --rules maml --set inner_rate=0.02

Squared error on 100 query rows of new tasks after 5, 10, 20 rows of each (the smaller supports are the first rows of the
larger), in two settings: one frequency (Finn et al. 2017) and frequencies between 0.8 and 1.2 (Li et al. 2017, where the
published numbers of both methods come from). A network 1-40-40-1, 25 tasks a step, no noise, one inner step (Reptile:
the 32 of Nichol et al. 2018). ``SETTINGS`` were chosen with ``--within-train``, which only prints the error on held-out tasks
of meta-train.
"""

import argparse
import inspect
import time

import numpy as np
import pandas as pd

from learners import make_learner
from tables import add_quick, show, write
from upstairs.datasets import Data, make_sinusoids

SHOTS = [5, 10, 20]
N_TASKS, N_ROWS, N_NEW, N_QUERY = 4000, 40, 600, 100
WAVES = {"one": (1.0, 1.0), "some": (0.8, 1.2)}
COMMON = {
    "network": (40, 40), "n_pieces": 0, "n_folds": 2, "batch_tasks": 25, "patience": 10_000, "min_shots": 5, "max_shots": 20,
    "weight_decay": 0.0,
}  # fmt: skip
ONE_STEP = {"inner_steps": 1, "inner_rate": 0.05, "learning_rate": 0.01, "n_steps": 10_000}
SETTINGS = {
    "bayes": {"learning_rate": 3e-3, "n_steps": 10_000},
    "maml": ONE_STEP,
    "metasgd": ONE_STEP,
    "fomaml": ONE_STEP,
    "anil": ONE_STEP,
    "reptile": {"inner_steps": 32, "inner_rate": 0.02, "learning_rate": 3e-3, "n_steps": 1500},
}
PUBLISHED = {
    "published: MAML": ("some", [1.13, 0.85, 0.71]),
    "published: Meta-SGD": ("some", [0.90, 0.63, 0.50]),
}
NOISE = 0.02
"""Variance that the exact posterior believes in; also that of the noise put on the support for the second of its lines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--waves", nargs="+", choices=list(WAVES), default=list(WAVES), help="one frequency, or some")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters instead of SETTINGS")
    parser.add_argument("--seed", type=int, default=0)
    add_quick(parser, rules=["bayes", "maml"], waves=["one"], steps=200)
    parser.add_argument("--steps", type=int, help="instead of those of SETTINGS")
    parser.add_argument("--within-train", action="store_true", help="look at no new task")
    parser.set_defaults(learner="gradient")
    args = parser.parse_args()
    rows: list[dict] = []
    for waves in args.waves:
        new = make_sinusoids(N_NEW, SHOTS[-1] + N_QUERY, frequencies=WAVES[waves], random_state=10_000 + args.seed)
        rows += [] if args.within_train else _references(waves, new)
        rows += [_score(args, rule, waves, new) for rule in args.rules]
    table = pd.DataFrame(rows).set_index(["frequencies", "method"])
    print(inspect.getsource(make_sinusoids))
    show("Squared error by number of support rows, ± 1.96 standard errors over new tasks", table, 5)
    if not (args.steps or args.within_train or args.set) and set(args.rules) == set(SETTINGS) and set(args.waves) == set(WAVES):
        write(args, "sinusoids", table)


def _score(args: argparse.Namespace, rule: str, waves: str, new: Data) -> dict:
    X, y, groups, _ = make_sinusoids(N_TASKS, N_ROWS, frequencies=WAVES[waves], random_state=args.seed)
    parameters = {"inner": rule} | COMMON | SETTINGS[rule] | ({"n_steps": args.steps} if args.steps else {})
    asked = argparse.Namespace(learner="gradient", set=[*(f"{k}={v}" for k, v in parameters.items()), *args.set])
    start = time.process_time(), time.perf_counter()
    meta = make_learner(asked, "regression", args.seed).fit(X, y, groups=groups)
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    held_out = y.var() * meta.info_.unseen_error[-len(SHOTS) :]
    print(
        f"{waves:<5}{rule:<9}step {meta.info_.n_steps:>6}  held out {held_out.round(5)}  {cpu:.0f} s, wall {wall:.0f} s",
        flush=True,
    )
    row = {"frequencies": waves, "method": rule}
    if args.within_train:
        return row | dict(zip(SHOTS, held_out, strict=True))

    def answer(support: np.ndarray, query: np.ndarray) -> np.ndarray:
        adapted = meta.adapt_tasks(new.X[support], new.y[support], groups=new.groups[support])
        return np.asarray(adapted.predict(new.X[query], groups=new.groups[query]))

    return row | _errors(new, answer) | {"cpu_s": cpu, "n_steps": meta.info_.n_steps}


def _errors(new: Data, answer) -> dict:
    """Error at each number of shots of ``answer(support, query) -> predictions``, both given as rows."""
    place = np.arange(len(new.y)) % (SHOTS[-1] + N_QUERY)
    query = np.flatnonzero(place >= SHOTS[-1])
    errors = {}
    for shots in SHOTS:
        e2 = (answer(np.flatnonzero(place < shots), query) - new.y[query]) ** 2
        by_task = e2.reshape(N_NEW, N_QUERY).mean(axis=1)
        errors |= {shots: by_task.mean(), f"± {shots}": 1.96 * by_task.std() / N_NEW**0.5}
    return errors


def _references(waves: str, new: Data) -> list[dict]:
    """What knows nothing, what knows the mean of all tasks, what knows sin and cos, and what was published."""
    methods = {
        "zero": lambda support, query: np.zeros(len(query)),
        "best task-blind function": lambda support, query: _mean_wave(new.X[query, 0], WAVES[waves]),
    }
    if waves == "one":
        noisy = new.y + NOISE**0.5 * np.random.default_rng(0).normal(size=len(new.y))
        methods["exact posterior on sin, cos"] = lambda support, query: _posterior(new, new.y, support, query)
        methods["the same, noise on the support"] = lambda support, query: _posterior(new, noisy, support, query)
    references = [{"frequencies": waves, "method": name} | _errors(new, answer) for name, answer in methods.items()]
    published = [(name, errors) for name, (where, errors) in PUBLISHED.items() if where == waves]
    return references + [{"frequencies": waves, "method": name} | dict(zip(SHOTS, e, strict=True)) for name, e in published]


def _mean_wave(x: np.ndarray, frequencies: tuple[float, float]) -> np.ndarray:
    """E[A] E[sin(ωx − φ)] over tasks: sin φ is 2/π on average, and cos φ is 0."""
    return -2.55 * 2 / np.pi * np.mean([np.cos(w * x) for w in np.linspace(*frequencies, 101)], axis=0)


def _posterior(new: Data, y: np.ndarray, support: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Linear in (sin, cos), with the two moments of A cos φ and −A sin φ as prior."""
    basis = np.column_stack([np.sin(new.X[:, 0]), np.cos(new.X[:, 0])])
    mean, square = np.array([0, -2.55 * 2 / np.pi]), (5**3 - 0.1**3) / (3 * 4.9)
    precision = np.diag(1 / (square / 2 - mean**2))
    predicted = np.empty(len(query))
    for task in range(N_NEW):
        s, q = support[new.groups[support] == task], new.groups[query] == task
        B = basis[s]
        w = np.linalg.solve(precision + B.T @ B / NOISE, precision @ mean + B.T @ y[s] / NOISE)
        predicted[q] = basis[query[q]] @ w
    return predicted


if __name__ == "__main__":
    main()
