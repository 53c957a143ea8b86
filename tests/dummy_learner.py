"""A learner whose fit leaves one field of each kind that can be saved; it stays useful whatever the real ones do."""

from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from upstairs import learners
from upstairs.calibration import Calibration, identity_calibration
from upstairs.contract import Learner, MetaClassifier, MetaRegressor
from upstairs.prediction import ClassPrediction, Prediction
from upstairs.target import Scale, identity_scale


class Member(NamedTuple):
    """A part of the dummy's state with one field of each kind that can be saved."""

    matrix: np.ndarray
    when: np.ndarray
    text: str
    note: str | None
    ends: tuple[float, ...]
    pair: tuple[int, bool]


class State(NamedTuple):
    fold: np.ndarray
    scale: Scale | None
    calibration: Calibration
    members: tuple[Member, ...]
    weights: np.ndarray
    classes: int


class Info(NamedTuple):
    rounds: int
    worst: float
    history: tuple[tuple[float, ...], ...]
    notes: Member | Scale | None


def learn(tasks, n_classes, params, rng):
    scale = None if n_classes else identity_scale(tasks.y)
    p = tasks.X.shape[1]
    member = Member(
        np.asfortranarray(rng.normal(size=(p, 7))),
        np.array(["2020-01-31", "NaT"], "datetime64[ns]"),
        "tree\n" * 1000,
        None,
        (float("nan"), -np.inf, 0.1 + 0.2, -0.0),
        (np.int64(3), np.True_),
    )
    state = State(
        np.zeros(tasks.n_tasks, np.int8), scale, identity_calibration((0, 1)), (member, member), rng.normal(size=7), n_classes
    )
    return state, Info(np.int32(3), np.inf, ((1.0,), ()), scale)


class Adapted(NamedTuple):
    level: np.ndarray


def adapt(state, support, fold):
    total = np.bincount(support.task_of_row, support.y, minlength=support.n_tasks)
    return Adapted(total / (support.sizes + 1))


def predict(state, adapted, query):
    u = np.nan_to_num(query.X).astype(float) @ state.members[0].matrix @ state.weights + adapted.level[query.task_of_row]
    if state.scale is None:
        logit = np.column_stack([u * c for c in range(state.classes)])
        return ClassPrediction(logit - np.log(np.exp(logit).sum(axis=1, keepdims=True)))
    one = np.ones(len(u))
    return Prediction(u, one, u, one, one)


LEARNER = Learner(learn, adapt, predict, lambda *_: None, State, Info)


class DummyRegressor(MetaRegressor):
    learner = LEARNER
    _parameter_constraints: ClassVar = {}

    def __init__(self, rate=0.1, widths=(1, 2), random_state=0):
        self.rate = rate
        self.widths = widths
        self.random_state = random_state


class DummyClassifier(MetaClassifier):
    learner = LEARNER
    _parameter_constraints: ClassVar = {}

    def __init__(self, rate=0.1, widths=(1, 2), random_state=0):
        self.rate = rate
        self.widths = widths
        self.random_state = random_state


learners.LEARNERS["dummy"] = (__name__, "DummyRegressor", "DummyClassifier")


def rows(n=40, tasks=("a", "b", "c", "d"), seed=0):
    rng = np.random.default_rng(seed)
    X = pa.table({"size": rng.normal(size=n), "kind": rng.choice(["x", "y", "z"], n)})
    return X, rng.normal(size=n), np.asarray(tasks)[np.arange(n) % len(tasks)]


def plain_pairs(state):
    """A state as it comes back from a file, with Python scalars."""
    return state._replace(members=tuple(m._replace(pair=(3, True)) for m in state.members))


def same(a, b):
    """Equal in value, type, dtype and layout, NaN equal to NaN and -0.0 not to 0.0."""
    assert type(a) is type(b)
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.flags.f_contiguous == b.flags.f_contiguous
        assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    else:
        assert repr(a) == repr(b)
