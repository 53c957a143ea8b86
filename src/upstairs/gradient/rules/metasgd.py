"""Meta-SGD: MAML with a learned rate for every weight and step (Li et al. 2017, algorithm 1; Antoniou et al. 2019)."""

from typing import Any

import jax
import jax.numpy as jnp

from upstairs.gradient.rules import descent
from upstairs.gradient.rules.descent import SLOW, descend, make_loss, predict, split
from upstairs.gradient.rules.rule import Problem, Rule, Start

__all__ = ["RULE"]


def init(key: Any, problem: Problem, start: Start) -> tuple[dict, Any]:
    weights, prior = descent.init(key, problem, start)
    rates = jax.tree.map(lambda w: jnp.full((problem.steps, *w.shape), problem.rate), weights)
    return weights | {"rates": rates}, prior


def adapt(weights: dict, prior: Any, problem: Problem, D: Any, y: Any, n: Any) -> dict:
    return {"n": n, "weights": descend(weights, weights["rates"], problem, D, y, n)}


RULE = Rule(init, adapt, predict, make_loss(adapt), split, SLOW)
