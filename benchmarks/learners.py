"""The learner that a benchmark's command line asks for: one of ours, or a peer."""

import argparse
import ast

import numpy as np
import pandas as pd

from peers import PEERS, Peer, missing_package
from upstairs.learners import LEARNERS, learner_class

__all__ = ["CONTENDERS", "add_learner_arguments", "can_learn", "label_of", "make_learner", "make_named", "warm_up"]

CONTENDERS = [*LEARNERS, *PEERS]


def add_learner_arguments(parser: argparse.ArgumentParser, default: str = "forest") -> None:
    """``--learner NAME --set NAME=VALUE ...``"""
    parser.add_argument(
        "--learner", default=default, choices=CONTENDERS, metavar="NAME", help=f"{', '.join(CONTENDERS)}; default: %(default)s"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the learner")


def label_of(args: argparse.Namespace) -> str:
    """Name of the learner with the parameters it was given: ``forest``, ``forest n_effect_trees=50``."""
    return " ".join([args.learner, *args.set])


def make_learner(args: argparse.Namespace, kind: str, random_state: int = 0):
    """The learner asked for, unfitted; ``kind`` is regression or classification."""
    return make_named(args.learner, kind, random_state, **dict(_parameter(text) for text in args.set))


def make_named(name: str, kind: str, random_state: int = 0, **parameters):
    """A learner of ours with these parameters, or a peer, which has none."""
    if name not in PEERS:
        return learner_class(name, kind == "classification")(random_state=random_state, **parameters)
    if parameters:
        raise SystemExit(f"The peer {name} has its parameters in peers.py, and takes none from --set.")
    if package := missing_package(name):
        raise SystemExit(f"The peer {name} needs the package {package}, which isn't installed: pip install {package}")
    return Peer(name, kind, random_state)


def can_learn(name: str, kind: str) -> bool:
    """Does it learn numbers, or classes? Some peers learn only numbers."""
    return name not in PEERS or kind in PEERS[name].kinds


def warm_up(args: argparse.Namespace, kind: str) -> None:
    """Fit and adapt once on a toy table, so that imports and compilation are in nobody's fit time."""
    rng = np.random.default_rng(0)
    X, task = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("abc")), np.repeat(np.arange(20), 20)
    X["d"] = pd.Categorical(rng.choice(["x", "y"], 400))
    y = X["a"].to_numpy() + rng.normal(size=20)[task] + rng.normal(size=400)
    y = y if kind == "regression" else (y > 0).astype(int)
    meta = make_learner(args, kind).fit(X[:300], y[:300], groups=task[:300])
    meta.adapt_tasks(X[300:350], y[300:350], groups=task[300:350]).predict(X[350:], groups=task[350:])
    meta.adapt(X[300:310], y[300:310]).predict(X[310:320])


def _parameter(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value
