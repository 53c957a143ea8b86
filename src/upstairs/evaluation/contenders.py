"""Who is compared: the user's meta-learners by name, and the baselines beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from upstairs.errors import UpstairsError
from upstairs.learners import LEARNERS, check_learner, learner_class

__all__ = ["BASELINES", "Contenders", "find_contenders"]

BASELINES = ("shrunk-mean", "pooled", "pooled-shift", "task-ridge", "hierarchical-ridge")


class Contenders(NamedTuple):
    """Meta-learners by name, the user's own first.

    Attributes
    ----------
    metas : dict of name -> meta-learner
    n_own : int
        How many of them the user asked for; the others are baselines.
    classes : bool
        Whether they predict classes.
    """

    metas: dict[str, Any]
    n_own: int
    classes: bool


def find_contenders(meta: Any, baselines: bool | Sequence[str], prefit: bool, random_state: int) -> Contenders:
    """Name the user's meta-learners and put the baselines beside; nothing is fitted.

    Parameters
    ----------
    meta : a meta-learner, a sequence of them, or a dict of name -> meta-learner
    baselines : bool or sequence of str
        False for none, True for ``BASELINES``, or names of learners. With ``prefit`` there are none: what they would learn from
        is not at hand.
    prefit : bool
        Whether the meta-learners must be fitted.
    random_state : int
        Of the baselines.
    """
    own = _named(meta)
    for name, one in own.items():
        _check(name, one, prefit)
    kinds = {name: bool(is_classifier(one)) for name, one in own.items()}
    if len(set(kinds.values())) > 1:
        number, label = (next(name for name, kind in kinds.items() if kind == wanted) for wanted in (False, True))
        raise UpstairsError(f"{number!r} predicts numbers and {label!r} classes; evaluate them one after the other.")
    classes = next(iter(kinds.values()))
    names = () if prefit else BASELINES if baselines is True else baselines or ()
    if isinstance(names, str):
        raise UpstairsError(f"baselines must be True, False or a list of learners' names, but is {baselines!r}.")
    beside = {}
    for name in names:
        check_learner(name)
        baseline = learner_class(name, classes)
        if name not in own:
            beside[name] = baseline(random_state=random_state)
        elif type(own[name]) is not baseline:
            raise UpstairsError(
                f"{name!r} is the name of a baseline, and of one of your meta-learners; name yours differently."
            )
    return Contenders({**own, **beside}, len(own), classes)


def _named(meta: Any) -> dict[str, Any]:
    if isinstance(meta, Mapping):
        if not meta:
            raise UpstairsError("meta is an empty dict; give at least one meta-learner.")
        return {str(name): one for name, one in meta.items()}
    metas = list(meta) if isinstance(meta, list | tuple) else [meta]
    if not metas:
        raise UpstairsError("meta is an empty list; give at least one meta-learner.")
    named: dict[str, Any] = {}
    for one in metas:
        if (name := _name(one)) in named:
            raise UpstairsError(
                f"Two of the meta-learners are called {name!r}; give them names of your own: {{'small': ..., 'large': ...}}."
            )
        named[name] = one
    return named


def _name(meta: Any) -> str:
    """A learner's name on the command line, or that of its class."""
    found = type(meta).__name__
    return next((name for name, (_, *classes) in LEARNERS.items() if found in classes), found)


def _check(name: str, meta: Any, prefit: bool) -> None:
    if isinstance(meta, type):
        raise UpstairsError(f"{name!r} is a class; pass an object of it, as {meta.__name__}().")
    if not hasattr(meta, "adapt_tasks"):
        raise UpstairsError(
            f"{name!r} is a {type(meta).__name__}, which has no adapt_tasks: evaluate compares meta-learners. Any other "
            "estimator can be cross-validated with SupportQuerySplit."
        )
    if prefit:
        try:
            check_is_fitted(meta)
        except NotFittedError:
            raise UpstairsError(
                f'{name!r} is not fitted, which cv="prefit" asks for. Call fit, or leave cv to folds.'
            ) from None
