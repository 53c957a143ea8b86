"""Is this installation well? Versions, threads, extras, and a small fit that must learn something."""

import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count

from upstairs.datasets import make_random_slopes
from upstairs.learners import learner_class

__all__ = ["CHECKED", "Extra", "SelfTest", "examine"]

CHECKED = ("hierarchical-ridge", "svm", "forest")
"""Learners that the self-test fits; those of extras are told of as extras."""
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SHOTS = 8


class Extra(NamedTuple):
    """An extra of the package, and those of its requirements that aren't installed."""

    name: str
    missing: tuple[str, ...]


class SelfTest(NamedTuple):
    """Squared error on tasks never seen, without rows and after eight of them, and how long fit and answers took.

    Attributes
    ----------
    learner : str
    before, after : float
    seconds : float
        Wall clock, compiling included where nothing is compiled yet.
    """

    learner: str
    before: float
    after: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Rows of a task must help on data that they help on; NaN doesn't."""
        return self.after < 0.5 * self.before


def examine(begin: Callable[[str], None] = lambda step: None) -> dict[str, Any]:
    """Look at the installation.

    Parameters
    ----------
    begin : callable, optional
        Called with the name of each learner before it is tried.

    Returns
    -------
    findings : dict
        ``versions`` (of upstairs, Python and what it needs), ``cores``, ``limits`` (variables that limit threads),
        ``extras`` (list of `Extra`), ``self_test`` (list of `SelfTest`) and ``well``.
    """
    self_test = []
    for name in CHECKED:
        begin(name)
        self_test.append(_try(name))
    return {
        "versions": {"upstairs": importlib.metadata.version("upstairs"), "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _needed(None)},
        "cores": cpu_count(),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
        "extras": [Extra(extra, tuple(name for name in _needed(extra) if not _installed(name))) for extra in _extras()],
        "self_test": self_test,
        "well": all(one.passed for one in self_test),
    }


def _try(name: str) -> SelfTest:
    """Tasks whose levels and slopes differ: the last ten aren't seen in fit."""
    X, y, task, _ = make_random_slopes(40, 16, 2, random_state=0)
    unseen, row = task >= 30, np.arange(len(y)) % 16
    support, query = unseen & (row < SHOTS), unseen & (row >= SHOTS)
    start = time.perf_counter()
    meta = learner_class(name, False)(random_state=0).fit(X[~unseen], y[~unseen], groups=task[~unseen])
    models = meta.adapt_tasks(X[support], y[support], groups=task[support])
    before, after = meta.predict(X[query]), models.predict(X[query], groups=task[query])
    before, after = (float(np.mean((told - y[query]) ** 2)) for told in (before, after))
    return SelfTest(name, before, after, time.perf_counter() - start)


def _extras() -> list[str]:
    """Those for users."""
    declared = importlib.metadata.metadata("upstairs").get_all("Provides-Extra") or []
    return [name for name in declared if name not in ("all", "benchmark", "docs", "lint", "test")]


def _needed(extra: str | None) -> list[str]:
    """Names of the requirements of an extra; None: of upstairs itself."""
    found = []
    for line in importlib.metadata.requires("upstairs") or []:
        of = re.search(r"extra == ['\"](\w+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if name and (of.group(1) if of else None) == extra:
            found.append(name.group())
    return found


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
