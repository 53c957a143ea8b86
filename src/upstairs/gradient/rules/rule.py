"""What every inner rule gives: functions of one task, written without batches; the frame maps them over tasks and folds.

θ has two parts, and they are told apart by what they may learn from. ``weights``, a network and its head, are learned on
episodes of the tasks that a fold model sees; ``prior``, a few numbers that say how much a support is worth, on episodes of
those that it doesn't: on seen tasks residuals are too small and the prior would come out too tight.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

__all__ = ["Episode", "Latent", "Problem", "Ragged", "Rule", "Start", "Theta"]


class Problem(NamedTuple):
    """What is fixed for a fit: hashable, so that a compiled function knows its own.

    Attributes
    ----------
    rule : Rule
    network : Network
    classify : bool
    n_inputs, n_features, n_outputs : int
        q, q + h, and C: 1 for numbers and for the logit of two classes, else a logit for each class against the rest.
    slopes : tuple of int
        Inputs with a variance of their own between tasks.
    shots : tuple of int
        Numbers of support rows that are trained for.
    steps, rate : int, float
        Of an inner gradient descent.
    """

    rule: "Rule"
    network: Any
    classify: bool
    n_inputs: int
    n_features: int
    n_outputs: int
    slopes: tuple[int, ...]
    shots: tuple[int, ...]
    steps: int
    rate: float


class Theta(NamedTuple):
    """θ: weights with a leading axis of models, and the prior that they share."""

    weights: Any
    prior: Any

    def model(self, m: int) -> Any:
        """Weights of one model."""
        return jax.tree.map(lambda w: w[m], self.weights)


class Start(NamedTuple):
    """Where outer learning starts: a ridge with random intercepts, and a pooled one, which sees levels as well.

    linear, pooled : float [C, q]
    level, noise : float [C]
        Variance between tasks over that within, and that within.
    """

    linear: Any
    pooled: Any
    level: Any
    noise: Any


class Episode(NamedTuple):
    """Support and query of a task, padded; supports are nested: that of s shots is the first s rows.

    D_s, y_s, n_s : [S, q], [S, C], how many rows count
    D_q, y_q, n_q : [Q, q], [Q, C], how many rows count
    shots : int
        The number drawn from ``Problem.shots`` for rules that adapt to one support at a time.
    """

    D_s: Any
    y_s: Any
    n_s: Any
    D_q: Any
    y_q: Any
    n_q: Any
    shots: Any


class Latent(NamedTuple):
    """u, or the logit of each class, of query rows.

    mean, variance : [Q, C]
    spread2 : [Q, C]
        Squared scale of a Student t with ``dof`` [Q] degrees of freedom.
    """

    mean: Any
    variance: Any
    spread2: Any
    dof: Any


class Ragged(NamedTuple):
    """A rule for many tasks of numbers at once, whose rows follow each other.

    adapt : (weights, prior, problem, rows [n], y [n, C], offsets [T + 1]) -> adapted
        As the rule's own, with a leading axis of T tasks.
    predict : (weights, prior, problem, adapted, rows [n], offsets [T + 1]) -> Latent
    """

    adapt: Callable
    predict: Callable


class Rule(NamedTuple):
    """An inner rule.

    init : (key, problem, start) -> weights, prior
        Pytrees of arrays.
    adapt : (weights, prior, problem, D [S, q], y [S, C], n) -> adapted
        A pytree of arrays whose shapes don't depend on S.
    predict : (weights, prior, problem, adapted, D [Q, q]) -> Latent
    loss : (weights, prior, problem, episode) -> losses [B], counts [B]
        Mean loss over the query at each of ``problem.shots``, and how many rows it was taken over (0 where the episode
        can't tell).
    split : (weights, prior, problem, adapted, D [Q, q]) -> level [Q, C], slopes [Q, k, C]
        Parts of what the support adds to the mean: the same for all rows, and by each of ``problem.slopes``.
    ragged : Ragged or None
        The same adapt and predict, where there is a faster way than padding.
    nested : (weights, prior, problem, episode) -> losses [B, Q], or None
        Squared error or log loss of each query row at each of ``problem.shots``, for a rule that has them all in one pass.
    """

    init: Callable
    adapt: Callable
    predict: Callable
    loss: Callable
    split: Callable
    slow: tuple[str, ...]
    ragged: Ragged | None = None
    nested: Callable | None = None
