"""Answers about the rows of a table as further columns: each row from the support rows of its task, from what the fit learned
of its task, or by its columns alone.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from upstairs.adaptation import locate
from upstairs.answers import all_answers

__all__ = ["SOURCES", "answer_columns"]

SOURCES = (
    "from the support rows of their task",
    "from what the fit learned of their task",
    "by their columns alone",
    "from the support rows",
)


def answer_columns(
    meta: Any, adapted: Any, X: pa.Table | np.ndarray, groups: np.ndarray | None, interval: float
) -> tuple[pa.Table, dict[str, int]]:
    """Answers in the order of the rows, and how many rest on what.

    Parameters
    ----------
    meta : fitted MetaEstimator
    adapted : AdaptedTasks, StoredTasks, AdaptedModel or None
    X : Arrow table of n rows; or ndarray [n, p] of rows that are encoded already
    groups : ndarray [n] or None
    interval : float
        Probability that it covers the truth.

    Returns
    -------
    columns : table [n, k]
        Prediction, lower and upper; for classes prediction and the probability of each.
    counts : dict
        Rows by source.
    """
    own, known, alone, one = SOURCES
    n = len(X)
    if groups is None:
        return _columns(meta, adapted or meta, X, None, interval), {alone if adapted is None else one: n}
    with_support = np.zeros(n, bool) if adapted is None else adapted.has_support(groups)
    is_known = (locate(meta.known_.ids, groups) >= 0) & ~with_support
    rows = [np.flatnonzero(with_support), np.flatnonzero(~with_support)]
    parts = [
        _columns(
            meta, model, X if len(some) == n else X.take(some) if isinstance(X, pa.Table) else X[some], groups[some], interval
        )
        for model, some in zip((adapted, meta), rows, strict=True)
        if len(some)
    ]
    counts = {own: int(with_support.sum()), known: int(is_known.sum()), alone: int((~with_support & ~is_known).sum())}
    return pa.concat_tables(parts).take(np.argsort(np.concatenate(rows))), counts


def _columns(meta: Any, model: Any, X: Any, groups: np.ndarray | None, interval: float) -> pa.Table:
    """The new columns of the output."""
    asked, prediction, shots = model._ask(X, groups) if isinstance(X, pa.Table) else model.ask_encoded(X, groups)
    answers = all_answers(asked, prediction, shots, interval)
    names = ["prediction"] if "probability" in answers else ["prediction", "lower", "upper"]
    columns = {name: answers[name] for name in names}
    if "probability" in answers:
        columns |= {f"probability_{label}": answers["probability"][:, c] for c, label in enumerate(meta.classes_.tolist())}
    return pa.table({name: pa.array(column) for name, column in columns.items()})
