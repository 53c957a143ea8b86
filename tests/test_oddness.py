"""Which known tasks a report calls odd, and why."""

import numpy as np
import pytest

from every_learner import CLASSIFIERS
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeRegressor
from upstairs.baselines.pooled import PooledRegressor
from upstairs.novelty import count_odd, surprises
from upstairs.report.oddness import odd
from upstairs.report.subject import Subject

N_STORES, SIZE = 60, 20
REASONS = ("its columns do something else", "its rows differ among themselves")
SUBJECT = Subject(None, {}, {}, "hierarchical-ridge", "sales", "store", "stores", [0], False)


def rows(slope=None, level=None, noise=None):
    """Sales of stores; those given by number are of another kind."""
    rng = np.random.default_rng(0)
    store = np.repeat(np.arange(N_STORES), SIZE)
    own = -2 + 0.2 * rng.normal(size=N_STORES)
    levels, sds = rng.normal(size=N_STORES), np.full(N_STORES, 0.5)
    for values, change, other in ((own, slope, 2.0), (levels, level, -9.0), (sds, noise, 1.5)):
        if change is not None:
            values[change] = other
    X = rng.normal(size=(len(store), 2))
    return X, levels[store] + own[store] * X[:, 0] + sds[store] * rng.normal(size=len(store)), store


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ({"slope": [7]}, "its columns do something else"),
        ({"level": [7]}, "sales is lower than its columns say"),
        ({"noise": [7]}, None),  # what it is called varies: see benchmarks/novelty.py
        ({}, None),
    ],
)
def test_an_odd_task_is_named_with_its_reason_and_ordinary_ones_are_not(planted, reason):
    X, y, store = rows(**planted)
    found = odd(SUBJECT, HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=store))
    table = found["tables"][0]
    assert len(table["rows"]) == 10
    chances = [row[1]["value"] for row in table["rows"]]
    assert chances == sorted(chances)
    if not planted:
        assert found["lead"].startswith("None stands out: of 60 stores some must surprise most")
        return
    assert found["lead"] == "7 stands out from the others."
    assert table["rows"][0][0]["value"] == 7
    assert table["rows"][0][2]["value"] == reason or reason is None
    assert table["rows"][0][1]["text"].startswith("1 in ")
    assert np.argmax(found["figures"][0]["numbers"]["oddness"]) == 7


def test_classes_have_odd_tasks_too():
    X, y, store = rows(slope=[7, 9])
    found = odd(
        SUBJECT._replace(classes=True), CLASSIFIERS["hierarchical-ridge"].fit(X, np.where(y > 0, "good", "bad"), groups=store)
    )
    assert {row[0]["value"] for row in found["tables"][0]["rows"][:2]} == {7, 9}
    assert {row[2]["text"] for row in found["tables"][0]["rows"]} <= {*REASONS, "sales is not as its columns say"}


def test_what_is_odd_can_not_always_be_told():
    X, y, store = rows()
    found = odd(SUBJECT, PooledRegressor(random_state=0).fit(X, y, groups=store))
    assert found["lead"].startswith("That can't be told") and not found["tables"]


def test_a_chance_goes_on_where_ranks_end():
    X, y, store = rows()
    meta = HierarchicalRidgeRegressor(random_state=0).fit(X, y, groups=store)
    models = meta.adapt_tasks(X, y + 30, groups=store)
    found = surprises(meta, meta.novelty_reference_, models.support)
    np.testing.assert_allclose(found.p_value, 1 / (N_STORES + 1), rtol=0.2)
    assert (found.chance < 1e-4).all() and (found.chance > 0).all()
    usual = surprises(meta, meta.novelty_reference_, meta.known_, meta.state_.fold)
    np.testing.assert_array_equal(np.argsort(usual.chance), np.argsort(usual.chance + usual.p_value))
    assert np.abs(np.sort(usual.chance) - (np.arange(N_STORES) + 0.5) / N_STORES).max() < 0.15


def test_no_more_than_a_share_of_the_odd_is_so_by_chance():
    assert count_odd(np.array([0.5, 0.001, 0.4, 0.02, 0.9])) == 2
    assert count_odd(np.array([0.5, 0.03, 0.4, 0.04, 0.9])) == 0
    assert count_odd(np.linspace(0.02, 1, 50)) == 0
    assert count_odd(np.array([])) == 0
