"""The public classes of the meta random forest."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from upstairs.contract import Learner, MetaRegressor
from upstairs.forest import inner, outer

__all__ = ["MetaRandomForestRegressor"]

CONSTRAINTS = {
    "n_folds": [Interval(Integral, 2, None, closed="left")],
    "n_effect_trees": [Interval(Integral, 0, None, closed="left")],
    "n_episodes": [Interval(Integral, 1, None, closed="left")],
    "max_rows": [Interval(Integral, 100, None, closed="left")],
    "learning_rate": [Interval(Real, 0, 1, closed="right")],
    "random_state": ["random_state"],
}


class MetaRandomForestRegressor(MetaRegressor):
    """Meta random forest."""

    learner = Learner(outer.learn, inner.adapt, inner.predict, None)
    _parameter_constraints = CONSTRAINTS

    def __init__(
        self, n_folds=5, n_effect_trees=100, n_episodes=1500, max_rows=40_000, learning_rate=0.1, random_state=None
    ):
        self.n_folds = n_folds
        self.n_effect_trees = n_effect_trees
        self.n_episodes = n_episodes
        self.max_rows = max_rows
        self.learning_rate = learning_rate
        self.random_state = random_state
