"""The public classes of AutoMeta: parameters, and what they mean."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from upstairs.auto import inner, outer
from upstairs.contract import Learner, MetaClassifier, MetaRegressor

__all__ = ["AutoMetaClassifier", "AutoMetaRegressor"]

LEARNER = Learner(outer.learn, inner.adapt, inner.predict, inner.explain, inner.State, outer.Info, for_known=inner.for_known)
LEARNERS = ("forest", "gradient", "svm", "hierarchical-ridge")
CONSTRAINTS = {
    "learners": [tuple, list],
    "time_budget": [Interval(Real, 0, None, closed="neither"), None],
    "n_episodes": [Interval(Integral, 10, None, closed="left")],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
}


class AutoMetaRegressor(MetaRegressor):
    """AutoMeta for numbers: the learners side by side on held-out tasks, blended by number of shots.

    Each learner is fitted once. Its fold models, each blind to some of the tasks, answer the same episodes of those tasks at 0,
    1, 2, 5, 10 and 20 shots, and the prediction is

        ŷ(x) = Σ_m w_m(s) ŷ_m(x),    w(s) ≥ 0, Σ w(s) = 1, with the smallest squared error on the held-out queries at s shots

    (stacking; convex, so that no learner is trusted beyond its range). Intervals are the average of the learners' quantiles,
    calibrated on the same episodes. A learner whose weight is negligible at every number of shots is dropped: the fitted
    object neither keeps nor asks it. Two baselines, the shrunk mean of the task and pooled LightGBM with a shift, always run
    along: where nothing beats them, they are the answer.

    Parameters
    ----------
    learners : sequence of str, default=("forest", "gradient", "svm", "hierarchical-ridge")
        Names as on the command line. Without the extra ``gradient``, that learner is left out.
    time_budget : float, default=None
        Seconds. A learner that isn't ready by then is stopped and left out; the baselines always finish.
    n_episodes : int, default=1000
        Held-out episodes that weights and intervals are learned on.
    n_jobs : int, default=None
        Learners that are fitted at the same time, each in a process of its own; -1 for as many as there are cores.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    info_ : Info
        Who won where: weights and held-out errors by number of shots, seconds, and who was left out and why.
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Wolpert (1992), Stacked generalization, Neural Networks 5. Breiman (1996), Stacked regressions, Machine Learning 24.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import AutoMetaRegressor
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = X[:, 0] + rng.normal(size=40)[store] + 0.1 * rng.normal(size=480)
    >>> meta = AutoMetaRegressor(learners=["svm", "hierarchical-ridge"], random_state=0)
    >>> model = meta.fit(X[:360], y[:360], groups=store[:360]).adapt(X[468:474], y[468:474])
    >>> bool(np.abs(model.predict(X[474:]) - y[474:]).mean() < np.abs(meta.predict(X[474:]) - y[474:]).mean())
    True
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learners=LEARNERS, time_budget=None, n_episodes=1000, n_jobs=None, random_state=None):
        self.learners = learners
        self.time_budget = time_budget
        self.n_episodes = n_episodes
        self.n_jobs = n_jobs
        self.random_state = random_state


class AutoMetaClassifier(MetaClassifier):
    """AutoMeta for two or more classes: the learners side by side on held-out tasks, blended by number of shots.

    As `AutoMetaRegressor`, with the mixture of the learners' probabilities that has the smallest log loss on held-out queries,

        p(c | x) = Σ_m w_m(s) p_m(c | x),    w(s) ≥ 0, Σ w(s) = 1

    tempered by number of shots on the same episodes.

    Parameters
    ----------
    learners : sequence of str, default=("forest", "gradient", "svm", "hierarchical-ridge")
        Names as on the command line. Without the extra ``gradient``, that learner is left out.
    time_budget : float, default=None
        Seconds. A learner that isn't ready by then is stopped and left out; the baselines always finish.
    n_episodes : int, default=1000
        Held-out episodes that weights and temperatures are learned on.
    n_jobs : int, default=None
        Learners that are fitted at the same time, each in a process of its own; -1 for as many as there are cores.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    classes_ : ndarray [C]
    info_ : Info
        Who won where: weights and held-out log losses by number of shots, seconds, and who was left out and why.
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Wolpert (1992), Stacked generalization, Neural Networks 5.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import AutoMetaClassifier
    >>> rng = np.random.default_rng(0)
    >>> school = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = np.where(X[:, 0] + 2 * rng.normal(size=40)[school] > 0, "pass", "fail")
    >>> meta = AutoMetaClassifier(learners=["svm", "hierarchical-ridge"], random_state=0)
    >>> meta.fit(X[:360], y[:360], groups=school[:360]).adapt(X[468:474], y[468:474]).predict_proba(X[474:]).shape
    (6, 2)
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS

    def __init__(self, learners=LEARNERS, time_budget=None, n_episodes=1000, n_jobs=None, random_state=None):
        self.learners = learners
        self.time_budget = time_budget
        self.n_episodes = n_episodes
        self.n_jobs = n_jobs
        self.random_state = random_state
