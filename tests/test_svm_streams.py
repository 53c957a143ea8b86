"""Rows of a machine that are made where they are read, from a table or a store: the same meta-model, by blocks."""

import numpy as np
import pandas as pd
import pytest

from test_svm import problem, shops
from upstairs import MetaSVR, UpstairsError, open_store, pack
from upstairs import store as stores
from upstairs.svm import newton, outer
from upstairs.svm import rows as svm_rows
from upstairs.svm.features import feature_matrix
from upstairs.svm.machine import solve
from upstairs.svm.rows import Made


@pytest.mark.parametrize("name", ["squared_hinge", "squared_epsilon_insensitive"])
def test_blocks_and_a_first_sample_lead_to_the_same_theta(name, monkeypatch):
    machine, phi, y, offsets = problem(name, seed=3, n_tasks=60)
    whole = solve(machine, phi, y, offsets, 40.0, 0.8, 1e-7)
    asked = []
    X = phi[:, ::-1].copy()
    made = Made(lambda some: asked.append(len(some)) or some[:, ::-1], X)
    monkeypatch.setattr(newton, "ROWS_A_BLOCK", 30)
    blocks = solve(machine, made, Made(lambda some: some, y), offsets, 40.0, 0.8, 1e-7)
    assert max(asked[1:]) < 60 < len(y)
    for attribute in ("theta", "slope", "loss"):
        np.testing.assert_allclose(getattr(blocks, attribute), getattr(whole, attribute), rtol=1e-9, atol=1e-12)

    monkeypatch.setattr(newton, "MOST_SAMPLED", len(y) // 3)
    monkeypatch.setattr(newton, "FEWEST_SAMPLED", 10)
    sampled = solve(machine, made, y, offsets, 40.0, 0.8, 1e-7)
    np.testing.assert_allclose(sampled.theta, whole.theta, rtol=1e-6)
    assert len(y) // 4 < max(asked) <= len(y) // 3
    assert sampled.gap <= 1e-14


def test_of_a_large_task_a_block_of_rows_is_taken(monkeypatch):
    X, y, task = shops(False, n_tasks=20, rows=15)
    task[task == 7] = 8  # 30 rows
    monkeypatch.setattr(svm_rows, "MOST_HELD", 0)
    monkeypatch.setattr(svm_rows, "ROWS_A_BLOCK", 20)
    meta = MetaSVR(kernel="linear", random_state=0).fit(X, y, groups=task)
    taken = np.bincount(task[meta.support_], minlength=20)
    assert taken[8] <= 20
    phi = feature_matrix(meta.state_.heads[0].features, meta.columns_.encode(X[meta.support_])).astype(float)
    np.testing.assert_allclose(meta.dual_coef_ @ phi, meta.state_.heads[0].theta, atol=1e-7)
    large = np.flatnonzero(np.sort(task) == 8)
    kept, offsets = svm_rows._few_of_each(np.searchsorted(np.sort(task), np.arange(21)))
    np.testing.assert_array_equal(np.diff(offsets), np.minimum(np.bincount(task, minlength=20), 20))
    of_it = kept[(kept >= large[0]) & (kept <= large[-1])]
    assert len(set(of_it)) == 20
    assert of_it[0] == large[0]
    assert of_it[-1] >= large[-2]


def test_more_support_vectors_than_are_kept(monkeypatch):
    X, y, task = shops(False)
    monkeypatch.setattr(outer, "MOST_SUPPORT", 100)
    meta = MetaSVR(kernel="linear", random_state=0).fit(X, y, groups=task)
    assert len(meta.support_tasks_) == 30
    for name in ("support_", "dual_coef_"):
        with pytest.raises(UpstairsError, match=r"rests on [23][0-9]{2} rows, too many to keep: ask for support_tasks_"):
            getattr(meta, name)


def test_coordinates_descend_on_a_sample_that_memory_takes(tmp_path, monkeypatch):
    X, y, task = shops(False, n_tasks=40)
    pd.DataFrame(X, columns=list("abc")).assign(y=y, task=task).to_parquet(tmp_path / "rows.parquet")
    store = pack(tmp_path / "rows.parquet", tmp_path / "rows.tasks", task="task", target="y")
    monkeypatch.setattr(stores, "LEAST_LEARNED", 200)
    few = MetaSVR(kernel="linear", loss="epsilon_insensitive", random_state=0).fit(open_store(store.path, memory=1))
    every = MetaSVR(kernel="linear", random_state=0).fit(open_store(store.path, memory=1))
    assert few.info_.n_rows <= 200 < every.info_.n_rows == 480
    assert few.known_.n_tasks == few.info_.n_tasks
    assert set(every.support_tasks_) <= set(every.known_.ids)
    assert len(every.known_.ids) < 40
