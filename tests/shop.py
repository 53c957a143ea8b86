"""Sales of a few stores, and the command line as a user calls it."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from upstairs.cli import main

__all__ = ["N_TASKS", "SIZE", "fit_model", "run", "sales", "write_rows"]

N_TASKS, SIZE = 24, 12


def run(*arguments) -> tuple[int, str, str]:
    """Run a command; its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
    return stop.value.code, out.getvalue(), err.getvalue()


def sales(n_tasks: int = N_TASKS, size: int = SIZE, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    level = rng.normal(50, 10, n_tasks).repeat(size)
    price = rng.uniform(1, 3, n_tasks * size)
    return pa.table(
        {
            "store": [f"{t:03}" for t in range(n_tasks) for _ in range(size)],
            "price": price,
            "kind": rng.choice(["corner", "mall"], n_tasks * size),
            "sales": level - 8 * price + rng.normal(0, 1, n_tasks * size),
        }
    )


def write_rows(folder: Path) -> Path:
    path = folder / "rows.csv"
    pa.csv.write_csv(sales(), path)
    return path


def fit_model(folder: Path, learner: str = "pooled-shift") -> Path:
    path = folder / "stores.upstairs"
    code, _, err = run("fit", write_rows(folder), "--task=store", "--target=sales", "-o", path, "--learner", learner)
    assert code == 0, err
    return path
