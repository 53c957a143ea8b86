"""The public classes of the meta random forest: parameters, and what they mean."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.forest import inner, outer

__all__ = ["MetaRandomForestClassifier", "MetaRandomForestRegressor"]

LEARNER = Learner(outer.learn, inner.adapt, inner.predict, inner.explain, inner.State, outer.Info, for_known=inner.for_known)
CONSTRAINTS = {
    "n_folds": [Interval(Integral, 2, 100, closed="both")],
    "ensemble": ["boolean"],
    "n_effect_trees": [Interval(Integral, 0, 10_000, closed="both")],
    "n_episodes": [Interval(Integral, 10, None, closed="left")],
    "max_rows": [Interval(Integral, 100, None, closed="left")],
    "learning_rate": [Interval(Real, 0, 1, closed="right")],
    "random_state": ["random_state"],
}


class MetaRandomForestRegressor(MetaRegressor):
    """Meta random forest for numbers: trees and the priors of their tasks' deviations, learned across tasks.

    Row x of task t is modelled, on a scale u of the target that is chosen on held-out tasks (y itself or log y), as

        u = f_w(x) + f_b(x) + g_t(x) + ε,    g_t ~ GP(0, σ² k),    ε ~ N(0, σ²)

    f_w, the effect of x within tasks, is boosted with each task's level removed; f_b is the level that x alone predicts. The
    kernel k of a task's deviation is a sum of a level, slopes (also along directions in which they move together), category
    effects, smooth bumps, and the share of *task-effect trees* in which two rows meet in a leaf: trees grown so that their
    leaves gather rows that move together within a task. All variances are learned on episodes drawn from tasks that f never
    saw. Adapting to s support rows is then in closed form, O(s³), and an empty support gives the zero-shot f_w + f_b.

    Parameters
    ----------
    n_folds : int, default=5
        Fold models of the shared mean, each blind to 1/n_folds of the tasks. A known task gets the one that never saw it.
    ensemble : bool, default=True
        Does an unseen task get the average of the fold models, or one more model of all tasks? That asks 1/n_folds of the
        trees, so that many tasks take less than half the time; errors are about 0.2 % larger.
    n_effect_trees : int, default=100
    n_episodes : int, default=1500
        Episodes that the prior is learned on.
    max_rows : int, default=40_000
        Above it, rows are thinned evenly over tasks; of more than ``max_rows / 10`` tasks a random sample is learned from.
    learning_rate : float in (0, 1], default=0.1
        Of the boosting.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    info_ : Info
        Trees, variances and level mixing that were learned.
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Hajjem, Bellavance, Larocque (2014), Mixed-effects random forest for clustered data, J. Stat. Comput. Simul. 84.
    Sigrist (2022), Gaussian process boosting, J. Mach. Learn. Res. 23.
    Rasmussen, Williams (2006), Gaussian processes for machine learning, algorithms 2.1 and 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaRandomForestRegressor
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = X[:, 0] + rng.normal(size=40)[store] + 0.1 * rng.normal(size=480)
    >>> meta = MetaRandomForestRegressor(random_state=0).fit(X[:360], y[:360], groups=store[:360])
    >>> model = meta.adapt(X[468:474], y[468:474])
    >>> bool(np.abs(model.predict(X[474:]) - y[474:]).mean() < np.abs(meta.predict(X[474:]) - y[474:]).mean())
    True
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(
        self,
        n_folds=5,
        ensemble=True,
        n_effect_trees=100,
        n_episodes=1500,
        max_rows=40_000,
        learning_rate=0.1,
        random_state=None,
    ):
        self.n_folds = n_folds
        self.ensemble = ensemble
        self.n_effect_trees = n_effect_trees
        self.n_episodes = n_episodes
        self.max_rows = max_rows
        self.learning_rate = learning_rate
        self.random_state = random_state


class MetaRandomForestClassifier(MetaClassifier):
    """Meta random forest for two or more classes: the model of `MetaRandomForestRegressor` on the logit.

    With two classes the logit of row x of task t is f_w(x) + f_b(x) + g_t(x), g_t ~ GP(0, k). A support is conditioned on by
    Laplace's approximation: a few Newton steps to the mode. More than two classes are one such model each against the rest,
    their probabilities normalised. Probabilities are tempered by number of shots on held-out tasks.

    Parameters
    ----------
    n_folds : int, default=5
        Fold models of the shared mean, each blind to 1/n_folds of the tasks. A known task gets the one that never saw it.
    ensemble : bool, default=True
        Does an unseen task get the average of the fold models, or one more model of all tasks? That asks 1/n_folds of the
        trees, so that many tasks take less than half the time; errors are about 0.2 % larger.
    n_effect_trees : int, default=100
    n_episodes : int, default=1500
        Episodes that the prior is learned on.
    max_rows : int, default=40_000
        Above it, rows are thinned evenly over tasks; of more than ``max_rows / 10`` tasks a random sample is learned from.
    learning_rate : float in (0, 1], default=0.1
        Of the boosting.
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
    Rasmussen, Williams (2006), Gaussian processes for machine learning, algorithm 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaRandomForestClassifier
    >>> rng = np.random.default_rng(0)
    >>> school = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = np.where(X[:, 0] + 2 * rng.normal(size=40)[school] > 0, "pass", "fail")
    >>> meta = MetaRandomForestClassifier(random_state=0).fit(X[:360], y[:360], groups=school[:360])
    >>> meta.adapt(X[468:474], y[468:474]).predict_proba(X[474:]).shape
    (6, 2)
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(
        self,
        n_folds=5,
        ensemble=True,
        n_effect_trees=100,
        n_episodes=1500,
        max_rows=40_000,
        learning_rate=0.1,
        random_state=None,
    ):
        self.n_folds = n_folds
        self.ensemble = ensemble
        self.n_effect_trees = n_effect_trees
        self.n_episodes = n_episodes
        self.max_rows = max_rows
        self.learning_rate = learning_rate
        self.random_state = random_state
