"""The public classes of the meta support vector machine: parameters, and what they mean."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from upstairs.contract import Learner, MetaClassifier, MetaEstimator, MetaRegressor
from upstairs.errors import UpstairsError
from upstairs.svm import inner, outer
from upstairs.svm.path import Path
from upstairs.table import read_groups
from upstairs.tasks import group_rows

__all__ = ["MetaSVC", "MetaSVR"]

LEARNER = Learner(
    outer.learn, inner.adapt, inner.predict, inner.explain, inner.State, outer.Info, inner.restore, streams=outer.streams,
    keep=inner.keep,
)  # fmt: skip
CONSTRAINTS = {
    "kernel": [StrOptions({"auto", "linear", "rbf", "poly"}), HasMethods(["fit", "transform"]), callable],
    "loss_budget": [StrOptions({"auto"}), Real],
    "C": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "gamma": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "n_components": [Interval(Integral, 1, 10_000, closed="both")],
    "n_folds": [Interval(Integral, 2, 100, closed="both")],
    "tol": [Interval(Real, 0, 1, closed="neither")],
    "random_state": ["random_state"],
}


class MetaMachine(MetaEstimator):
    """What is asked of a fitted machine beside predictions."""

    def fit(self, X, y=None, groups=None):
        budget = self.loss_budget
        if not isinstance(budget, str) and not 0 <= budget < np.inf:
            raise UpstairsError(f'loss_budget must be "auto" or a number from 0 on, but is {budget}.')
        super().fit(X, y, groups)
        if groups is not None:
            # learning sees rows sorted by task
            _, codes = np.unique(read_groups(groups, self.info_.n_rows), return_inverse=True)
            order, _ = group_rows(codes, self.info_.n_tasks)
            self.state_ = self.state_._replace(support=order[self.state_.support])
        return self

    fit.__doc__ = MetaEstimator.fit.__doc__

    def meta_path(self) -> Path:
        """The path of meta-models along λ, as a NamedTuple of columns: ``pandas.DataFrame(path._asdict())``.

        Returns
        -------
        path : Path
            λ, mean loss, ‖θ‖, support vectors, support tasks and the held-out score, from the widest margin on. Of large data
            it is the path of the tasks that choices were made on (at most 10,000 rows).
        """
        check_is_fitted(self)
        return self.info_.path

    def explain(self, X):
        """Explain the zero-shot margin of each row of X (see `Explanation`): what θ makes of its columns.

        θ itself is made of rows, ``support_``, of the tasks ``support_tasks_``. ``print(meta.info_)`` says of how many: "The
        meta-model rests on 214 of 12,031 rows, from 37 of 96 tasks."
        """
        return super().explain(X)

    @property
    def support_(self) -> np.ndarray:
        """Rows of fit that θ is made of, int64 [m]: support vectors of the meta-space. More than a million aren't kept, and
        asking for them is an UpstairsError.
        """
        self._check_support()
        return self.state_.support

    @property
    def dual_coef_(self) -> np.ndarray:
        """Their weights, float64 [outputs, m]: θ = dual_coef φ(X[support])."""
        self._check_support()
        return self.state_.dual_coef

    @property
    def support_tasks_(self) -> np.ndarray:
        """The tasks that they come from; of a store that is larger than memory, those that the model knows."""
        return self.known_.ids[self.state_.support_task]

    def _check_support(self) -> None:
        if self.info_.n_support > len(self.state_.support):
            raise UpstairsError(
                f"The meta-model rests on {self.info_.n_support:,} rows, too many to keep: ask for support_tasks_ or theta_."
            )

    @property
    def theta_(self) -> np.ndarray:
        """θ, float64 [outputs, q], before the machine that all rows share is mixed in (``state_.heads`` has both): weights of
        1, the columns and then the kernel's features.
        """
        head = self.state_.heads[self.state_.main]
        linear = head.features.linear(head.theta)
        return np.concatenate([linear, head.theta[:, linear.shape[1] :]], axis=1)

    @property
    def lambda_(self) -> float:
        """λ, the multiplier of the budget."""
        return self.info_.lam

    @property
    def duality_gap_(self) -> float:
        """Primal less dual objective, over the primal one."""
        return self.info_.gap

    @property
    def relevance_(self) -> np.ndarray:
        """In which columns tasks differ, float64 [p]: the diagonal of M, summed by column of X, where 1 is the mean of M."""
        return self.info_.relevance


class MetaSVC(MetaMachine, MetaClassifier):
    """Meta support vector machine for two or more classes: the largest margin within an error budget.

    Outer learning is

        min over θ of  ½‖θ‖²  subject to  (1/T) Σ_t L_t(θ) ≤ ε
        L_t(θ) = min over v of  1/(2 C n_t) vᵀM⁻¹v + 1/n_t Σ_i ℓ(y_ti, (θ + v)ᵀφ(x_ti))

    where each task's loss is that of its own machine around θ (regularised multi-task learning, Evgeniou & Pontil 2004). θ
    is a combination of rows of all tasks, the support vectors of the meta-space. M, learned across tasks, says in which
    columns tasks differ, and which differ together. A new task's machine is fitted around θ to its support, and its margin
    becomes a probability by what margins after as many rows turned out to be worth on tasks held out (Platt 1999). θ knows
    columns by what they do within tasks. As far as it helps tasks held out, at few shots above all, it is mixed with the
    one machine that all rows share, which also knows what they say of a whole task. Several classes are each told from the
    rest. "rbf" sees a column of numbers as it is or by ranks, whichever predicts held-out tasks better.

    Parameters
    ----------
    kernel : {"auto", "linear", "rbf", "poly"}, scikit-learn transformer or callable, default="auto"
        "auto" takes "linear" or "rbf" by tasks held out. A transformer (``Nystroem``, ``RBFSampler`` ...) or a callable turns
        rows [n, d] (numbers standardised, categories one-hot) into features [n, h]; a model with a
        transformer can't be saved, one with a callable is loaded by ``load(path, kernel=...)``.
    loss : {"hinge", "squared_hinge"}, default="squared_hinge"
        The squared one predicts probabilities better, the other rests on fewer rows.
    loss_budget : float or "auto", default="auto"
        ε. "auto" takes the widest margin whose loss on held-out tasks is within one standard error of the best.
    C : float or "auto", default="auto"
        How far tasks may go from θ: ``C`` M is the prior variance of v where the loss is a log likelihood. "auto" learns it
        across tasks, for each number of shots.
    gamma : float or "auto", default="auto"
        Of "rbf", exp(−γ‖x − x′‖²), and "poly". "auto" takes the best of four by held-out tasks.
    n_components : int, default=100
        Features of the kernel.
    n_folds : int, default=5
        Folds of tasks to hold out.
    tol : float, default=1e-4
        Relative duality gap at which θ is good enough.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    classes_ : ndarray [C]
    support_, support_tasks_, dual_coef_, theta_, lambda_, duality_gap_, relevance_
    info_ : Info
        ``print(meta.info_)`` says what the meta-model rests on.
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Evgeniou, Pontil (2004), Regularized multi-task learning, KDD.
    Hsieh, Chang, Lin, Keerthi, Sundararajan (2008), A dual coordinate descent method for large-scale linear SVM, ICML.
    Platt (1999), Probabilistic outputs for support vector machines.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaSVC
    >>> rng = np.random.default_rng(0)
    >>> school = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = np.where(X[:, 0] + 2 * rng.normal(size=40)[school] > 0, "pass", "fail")
    >>> meta = MetaSVC(random_state=0).fit(X[:360], y[:360], groups=school[:360])
    >>> meta.adapt(X[468:474], y[468:474]).predict_proba(X[474:]).shape
    (6, 2)
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS | {"loss": [StrOptions({"hinge", "squared_hinge"})]}

    def __init__(
        self, kernel="auto", loss="squared_hinge", loss_budget="auto", C="auto", gamma="auto", n_components=100, n_folds=5,
        tol=1e-4, random_state=None,
    ):  # fmt: skip
        self.kernel = kernel
        self.loss = loss
        self.loss_budget = loss_budget
        self.C = C
        self.gamma = gamma
        self.n_components = n_components
        self.n_folds = n_folds
        self.tol = tol
        self.random_state = random_state


class MetaSVR(MetaMachine, MetaRegressor):
    """Meta support vector machine for numbers: the model of `MetaSVC` with a tube around the target.

    ℓ(y, f) = max(0, |y − f| − tube), squared or not, on the target in units of its standard deviation. Where y is never
    negative, and skewed or wide, log y is modelled as well, and the two are blended by what predicts held-out tasks best at
    each number of shots. "rbf" sees a column of numbers as it is or by ranks, whichever predicts held-out tasks better.

    Parameters
    ----------
    kernel : {"auto", "linear", "rbf", "poly"}, scikit-learn transformer or callable, default="auto"
        "auto" takes "linear" or "rbf" by tasks held out. A transformer (``Nystroem``, ``RBFSampler`` ...) or a callable turns
        rows [n, d] (numbers standardised, categories one-hot) into features [n, h]; a model with a
        transformer can't be saved, one with a callable is loaded by ``load(path, kernel=...)``.
    loss : {"epsilon_insensitive", "squared_epsilon_insensitive"}, default="squared_epsilon_insensitive"
        The first is robust: a row's pull has a limit. It predicts medians.
    tube : float or "auto", default="auto"
        Errors that cost nothing, in standard deviations of the target; rows inside it are no support vectors. "auto" is 0.3
        standard deviations of the noise.
    loss_budget : float or "auto", default="auto"
        ε. "auto" takes the widest margin whose loss on held-out tasks is within one standard error of the best.
    C : float or "auto", default="auto"
        How far tasks may go from θ: ``C`` M is the prior variance of v where the loss is a log likelihood. "auto" learns it
        across tasks, for each number of shots.
    gamma : float or "auto", default="auto"
        Of "rbf", exp(−γ‖x − x′‖²), and "poly". "auto" takes the best of four by held-out tasks.
    n_components : int, default=100
        Features of the kernel.
    n_folds : int, default=5
        Folds of tasks to hold out.
    tol : float, default=1e-4
        Relative duality gap at which θ is good enough.
    random_state : int, RandomState or None, default=None

    Attributes
    ----------
    support_, support_tasks_, dual_coef_, theta_, lambda_, duality_gap_, relevance_
        Of the model (of y, or of log y) that intervals come from.
    info_ : Info
    state_ : State
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if fitted on a table with column names.

    References
    ----------
    Evgeniou, Pontil (2004), Regularized multi-task learning, KDD.
    Ho, Lin (2012), Large-scale linear support vector regression, JMLR 13.

    Examples
    --------
    >>> import numpy as np
    >>> from upstairs import MetaSVR
    >>> rng = np.random.default_rng(0)
    >>> store = np.repeat(np.arange(40), 12)
    >>> X = rng.normal(size=(480, 2))
    >>> y = rng.normal(size=40)[store] * X[:, 0] + 0.1 * rng.normal(size=480)
    >>> meta = MetaSVR(random_state=0).fit(X[:360], y[:360], groups=store[:360])
    >>> model = meta.adapt(X[468:474], y[468:474])
    >>> bool(np.abs(model.predict(X[474:]) - y[474:]).mean() < np.abs(meta.predict(X[474:]) - y[474:]).mean())
    True
    """

    learner = LEARNER
    _parameter_constraints = CONSTRAINTS | {
        "loss": [StrOptions({"epsilon_insensitive", "squared_epsilon_insensitive"})],
        "tube": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, kernel="auto", loss="squared_epsilon_insensitive", tube="auto", loss_budget="auto", C="auto", gamma="auto",
        n_components=100, n_folds=5, tol=1e-4, random_state=None,
    ):  # fmt: skip
        self.kernel = kernel
        self.loss = loss
        self.tube = tube
        self.loss_budget = loss_budget
        self.C = C
        self.gamma = gamma
        self.n_components = n_components
        self.n_folds = n_folds
        self.tol = tol
        self.random_state = random_state
