"""The public classes of meta-gradient descent: parameters, and what they mean."""

import os
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.errors import UpstairsError

try:
    from upstairs.gradient import inner, network, outer
    from upstairs.gradient.compiling import keep_compiled
    from upstairs.gradient.rules import RULES
except ModuleNotFoundError as error:
    if error.name not in ("jax", "jaxlib", "optax"):
        raise
    raise UpstairsError(
        f"Meta-gradient descent needs the package {error.name}: install the extra, as in pip install 'upstairs[gradient]'."
    ) from error

__all__ = ["MetaGradientClassifier", "MetaGradientRegressor"]

keep_compiled()

LEARNER = Learner(
    outer.learn, inner.adapt, inner.predict, inner.explain, inner.State, outer.Info, network.restore, streams=outer.streams
)
CONSTRAINTS = {
    "inner": [StrOptions(set(RULES))],
    "network": ["array-like", tuple],
    "n_pieces": [Interval(Integral, 0, 100, closed="both")],
    "n_folds": [Interval(Integral, 2, 100, closed="both")],
    "n_steps": [Interval(Integral, 0, None, closed="left")],
    "batch_tasks": [Interval(Integral, 1, None, closed="left")],
    "patience": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "min_shots": [Interval(Integral, 0, None, closed="left")],
    "max_shots": [Interval(Integral, 1, None, closed="left"), None],
    "inner_steps": [Interval(Integral, 1, 1000, closed="both")],
    "inner_rate": [Interval(Real, 0, None, closed="neither")],
    "checkpoint": [str, os.PathLike, None],
    "verbose": ["boolean"],
    "random_state": ["random_state"],
}


class MetaGradientRegressor(MetaRegressor):
    """Meta-gradient descent for numbers: descend in meta-space, adapt in closed form or in a few steps.

    Outer learning is

        min over θ of E over tasks, over numbers of shots, [L(query | θ adapted to the support)]

    by Adam on episodes of meta-train tasks, where the inner rule makes a task's model from θ and its support:

    ===========  ==========================================================================================================
    "bayes"      a linear head on a network's features, with a learned Gaussian prior; its posterior, in closed form, is the
                 adapted model, and predictions are Student's t (ALPaCA, R2-D2)
    "maml"       ``inner_steps`` gradient steps of all weights; the outer gradient looks through them
    "fomaml"     the same, with the inner gradients taken for constants
    "metasgd"    as "maml", with a learned rate of every weight at every step
    "anil"       as "maml", but only the head moves
    "reptile"    θ moves towards where descent on a whole task ends
    ===========  ==========================================================================================================

    The descent starts from a ridge with a level for each task, and stops at the smallest error on held-out tasks. With
    ``network=()`` it is a linear mixed model with a learned prior.

    Parameters
    ----------
    inner : {"bayes", "maml", "fomaml", "metasgd", "anil", "reptile"}, default="bayes"
    network : tuple of int, or a pair (init, apply), default=(64, 64)
        Widths of a multilayer perceptron; or ``init(key, n_inputs) -> parameters`` and ``apply(parameters, D [n, n_inputs])
        -> features [n, h]``, as flax and equinox modules give them; `load` has to be given the pair again.
    n_pieces : int, default=8
        Each column of numbers comes a second time in so many pieces between quantiles; 0 for none.
    n_folds : int, default=3
        Fold models, each blind to 1/n_folds of the tasks: they calibrate, and answer for tasks known from fit. An unseen task
        gets one more model, which saw all tasks.
    n_steps : int, default=3000
        Meta-steps at most.
    batch_tasks : int, default=16
        Episodes of a step. What a step needs grows with it, not with the number of tasks.
    patience : int, default=10
        Stop after 50 times so many steps without a smaller error on held-out tasks.
    learning_rate : float, default=1e-3
        Of Adam, at the start; it falls along a cosine. The linear part learns at a thirtieth of it.
    weight_decay : float, default=0.01
    min_shots, max_shots : int, default=0 and None
        Support sizes to train for; None for 20, or what the largest task can give.
    inner_steps : int, default=5
    inner_rate : float, default=0.1
        Of the inner gradient steps: ignored by "bayes", the start for "metasgd".
    checkpoint : path, default=None
        A folder that keeps the state of the fit; a fit that was stopped goes on from there, bit for bit, given
        the same ``random_state``, which must not be None.
    verbose : bool, default=False
        Show a progress bar with the loss and the held-out error.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    info_ : Info
        How the descent went, and the gap between tasks seen and unseen.
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Finn, Abbeel, Levine (2017), Model-agnostic meta-learning for fast adaptation of deep networks, ICML.
    Harrison, Sharma, Pavone (2018), Meta-learning priors for efficient online Bayesian regression, WAFR.
    Bertinetto, Henriques, Torr, Vedaldi (2019), Meta-learning with differentiable closed-form solvers, ICLR.
    Li, Zhou, Chen, Li (2017), Meta-SGD: learning to learn quickly for few-shot learning, arXiv:1707.09835.
    Antoniou, Edwards, Storkey (2019), How to train your MAML, ICLR.
    Raghu, Raghu, Bengio, Vinyals (2020), Rapid learning or feature reuse?, ICLR.
    Nichol, Achiam, Schulman (2018), On first-order meta-learning algorithms, arXiv:1803.02999.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaGradientRegressor
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = rng.normal(size=40)[store] * X[:, 0] + 0.1 * rng.normal(size=480)
    >>> meta = MetaGradientRegressor(n_steps=100, random_state=0).fit(X[:360], y[:360], groups=store[:360])
    >>> model = meta.adapt(X[468:474], y[468:474])
    >>> bool(np.abs(model.predict(X[474:]) - y[474:]).mean() < np.abs(meta.predict(X[474:]) - y[474:]).mean())
    True
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(
        self, inner="bayes", network=(64, 64), n_pieces=8, n_folds=3, n_steps=3000, batch_tasks=16, patience=10,
        learning_rate=1e-3, weight_decay=0.01, min_shots=0, max_shots=None, inner_steps=5, inner_rate=0.1, checkpoint=None,
        verbose=False, random_state=None,
    ):  # fmt: skip
        self.inner = inner
        self.network = network
        self.n_pieces = n_pieces
        self.n_folds = n_folds
        self.n_steps = n_steps
        self.batch_tasks = batch_tasks
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.min_shots = min_shots
        self.max_shots = max_shots
        self.inner_steps = inner_steps
        self.inner_rate = inner_rate
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state


class MetaGradientClassifier(MetaClassifier):
    """Meta-gradient descent for two or more classes: the model of `MetaGradientRegressor` on the logit.

    Two classes have one logit; more have one each, against the rest, on one network, and their probabilities are normalised.
    "bayes" conditions on a support by Laplace's approximation (Newton steps to the mode), the other rules descend the log loss.
    Probabilities are tempered by number of shots on held-out tasks.

    Parameters
    ----------
    inner : {"bayes", "maml", "fomaml", "metasgd", "anil", "reptile"}, default="bayes"
    network : tuple of int, or a pair (init, apply), default=(64, 64)
        Widths of a multilayer perceptron; or ``init(key, n_inputs) -> parameters`` and ``apply(parameters, D [n, n_inputs])
        -> features [n, h]``, as flax and equinox modules give them; `load` has to be given the pair again.
    n_pieces : int, default=8
        Each column of numbers comes a second time in so many pieces between quantiles; 0 for none.
    n_folds : int, default=3
        Fold models, each blind to 1/n_folds of the tasks: they calibrate, and answer for tasks known from fit. An unseen task
        gets one more model, which saw all tasks.
    n_steps : int, default=3000
        Meta-steps at most.
    batch_tasks : int, default=16
        Episodes of a step. What a step needs grows with it, not with the number of tasks.
    patience : int, default=10
        Stop after 50 times so many steps without a smaller error on held-out tasks.
    learning_rate : float, default=1e-3
        Of Adam, at the start; it falls along a cosine. The linear part learns at a thirtieth of it.
    weight_decay : float, default=0.01
    min_shots, max_shots : int, default=0 and None
        Support sizes to train for; None for 20, or what the largest task can give.
    inner_steps : int, default=5
    inner_rate : float, default=0.1
        Of the inner gradient steps: ignored by "bayes", the start for "metasgd".
    checkpoint : path, default=None
        A folder that keeps the state of the fit; a fit that was stopped goes on from there, bit for bit, given
        the same ``random_state``, which must not be None.
    verbose : bool, default=False
        Show a progress bar with the loss and the held-out error.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Rasmussen, Williams (2006), Gaussian processes for machine learning, section 3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaGradientClassifier
    >>> rng = np.random.default_rng(0)
    >>> school = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = np.where(X[:, 0] + 2 * rng.normal(size=40)[school] > 0, "pass", "fail")
    >>> meta = MetaGradientClassifier(n_steps=100, random_state=0).fit(X[:360], y[:360], groups=school[:360])
    >>> meta.adapt(X[468:474], y[468:474]).predict_proba(X[474:]).shape
    (6, 2)
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(
        self, inner="bayes", network=(64, 64), n_pieces=8, n_folds=3, n_steps=3000, batch_tasks=16, patience=10,
        learning_rate=1e-3, weight_decay=0.01, min_shots=0, max_shots=None, inner_steps=5, inner_rate=0.1, checkpoint=None,
        verbose=False, random_state=None,
    ):  # fmt: skip
        self.inner = inner
        self.network = network
        self.n_pieces = n_pieces
        self.n_folds = n_folds
        self.n_steps = n_steps
        self.batch_tasks = batch_tasks
        self.patience = patience
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.min_shots = min_shots
        self.max_shots = max_shots
        self.inner_steps = inner_steps
        self.inner_rate = inner_rate
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state
