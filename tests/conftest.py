"""Fixtures that several test files share."""

import os

import numpy as np
import pytest

import upstairs
from dummy_learner import DummyRegressor, rows

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")  # compiling takes longer than what is compiled

LONGEST = (
    "test_contract", "test_gradient", "test_gradient_faults", "test_persistence", "test_docs", "test_serve_faults",
    "test_gradient_network", "test_svm", "test_report", "test_evaluation_stored", "test_baselines", "test_forest_prior",
)  # fmt: skip
"""Files of a minute or so stand first: no worker is left alone with one at the end."""
TABLE_KINDS = ["pandas", "pandas-nullable", "polars", "arrow", "ndarray"]


def pytest_collection_modifyitems(items):
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(params=TABLE_KINDS)
def table_kind(request):
    """A function from a dict of columns to each kind of table."""
    return lambda columns: make_table(request.param, columns)


@pytest.fixture(scope="module")
def meta():
    """A fitted meta-model that learned nothing, quickly."""
    X, y, task = rows()
    return DummyRegressor(rate=float("inf")).fit(X, y, groups=task)


@pytest.fixture(scope="module")
def saved(meta, tmp_path_factory):
    """Its file."""
    path = tmp_path_factory.mktemp("saved") / "m.upstairs"
    upstairs.save(meta, path, task_name="store", target_name="sales")
    return path


@pytest.fixture
def closed_figures():
    """Figures are drawn into memory, and none outlives its test."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of models to serve, `stores` and `sizes`."""
    from served import fit_models  # brings what only `upstairs serve` needs

    return fit_models(tmp_path_factory.mktemp("models"))


def make_table(kind: str, columns: dict):
    if kind == "ndarray":
        arrays = [np.asarray(values) for values in columns.values()]
        dtype = float if all(array.dtype.kind in "biuf" for array in arrays) else object
        return np.column_stack([array.astype(dtype) for array in arrays])
    if kind == "arrow":
        return pytest.importorskip("pyarrow").table(columns)
    if kind == "polars":
        return pytest.importorskip("polars").DataFrame(columns)
    frame = pytest.importorskip("pandas").DataFrame(columns)
    return frame.convert_dtypes() if kind == "pandas-nullable" else frame
