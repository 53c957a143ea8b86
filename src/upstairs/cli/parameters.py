"""``--set NAME=VALUE``: a learner's parameters, as the command line gives them."""

import difflib
import json
from collections.abc import Sequence
from typing import Any

from upstairs.errors import UpstairsError
from upstairs.learners import learner_class

__all__ = ["make_learner"]

OWN_OPTION = {"random_state": "--seed", "time_budget": "--time-budget"}


def make_learner(name: str, classify: bool, given: Sequence[str] | None, **others: Any) -> Any:
    """The learner of that name, unfitted, with the parameters that are ``given`` as NAME=VALUE, and others."""
    meta = learner_class(name, classify)(**others)
    meta.set_params(**dict(_parse(text, name, meta.get_params()) for text in given or ()))
    try:
        meta._validate_params()
    except ValueError as error:
        raise UpstairsError(f"--set: {' '.join(str(error).split())}") from None
    return meta


def _parse(text: str, learner: str, known: dict[str, Any]) -> tuple[str, Any]:
    """``ensemble=false`` is False, ``network=[48,48]`` a tuple, ``inner=maml`` a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UpstairsError(f"--set takes NAME=VALUE, as {next(iter(known))}={next(iter(known.values()))}, but is {text!r}.")
    if name in OWN_OPTION:
        raise UpstairsError(f"--set {name} has an option of its own: give {OWN_OPTION[name]} {value} instead.")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        names = ", ".join(sorted(known.keys() - OWN_OPTION.keys())) or "none"
        there = f"Did you mean {close[0]}?" if close else f"It has {names}."
        raise UpstairsError(f"--set: the learner {learner} has no parameter {name!r}. {there}")
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        return name, {"None": None, "True": True, "False": False}.get(value, value)
    return name, tuple(parsed) if isinstance(parsed, list) else parsed
