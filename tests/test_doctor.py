"""upstairs doctor: what it says of an installation that is well, that lacks something, that is broken."""

import json

import upstairs
from shop import run
from upstairs import doctor
from upstairs.baselines.pooled import PooledRegressor


def test_an_installation_that_is_well():
    code, out, _ = run("doctor", "--json")
    told = json.loads(out)
    assert code == 0 and told["well"]
    assert told["versions"]["upstairs"] == upstairs.__version__
    assert {"numpy", "lightgbm", "scikit-learn"} < set(told["versions"]) and "jax" not in told["versions"]
    assert [one["learner"] for one in told["self_test"]] == ["hierarchical-ridge", "svm", "forest"]
    assert all(one["after"] < 0.5 * one["before"] for one in told["self_test"])


def test_what_is_missing_and_what_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: name != "optax")
    monkeypatch.setattr(doctor, "learner_class", lambda name, classify: PooledRegressor)  # learns nothing of a task
    code, out, _ = run("doctor")
    assert code == 1
    assert "lacks optax: pip install 'upstairs[gradient]'" in out
    assert out.count("doesn't learn") == 3 and "Something is broken" in out
    assert out.count("ready") == len(doctor._extras()) - 1


def test_limits_of_threads_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "CHECKED", ())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "cores, OMP_NUM_THREADS=1" in run("doctor")[1]
