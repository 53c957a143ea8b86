"""A user's own network: flax's, equinox's and plain functions; fitted, saved, and loaded with the pair given again."""

import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import upstairs
from upstairs import MetaGradientClassifier, MetaGradientRegressor, UpstairsError
from upstairs.cli import main
from upstairs.datasets import make_random_slopes
from upstairs.gradient.encoder import make_network
from upstairs.persistence import read_manifest

SMALL = {"n_pieces": 0, "n_folds": 2, "n_steps": 50, "batch_tasks": 8, "random_state": 0}
X, Y, TASK, _ = make_random_slopes(40, 16, 2, random_state=0)
LABELS = np.where(Y > np.median(Y), "high", "low")
SEEN = TASK < 30


class Perceptron(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, D):
        return nn.tanh(nn.Dense(self.width)(D))


def of_flax(width=8):
    module = Perceptron(width)
    return lambda key, n: module.init(key, jnp.ones((1, n))), module.apply


def of_equinox(width=8):
    return (
        lambda key, n: eqx.filter(eqx.nn.Linear(n, width, key=key), eqx.is_array),
        lambda linear, D: jnp.tanh(jax.vmap(linear)(D)),
    )


def of_functions(width=8):
    return tuple(make_network((width,)))


KINDS = {"flax": of_flax, "equinox": of_equinox, "functions": of_functions}


FIRST = ~SEEN & (np.arange(len(Y)) % 16 < 8)
LATER = ~SEEN & ~FIRST


def answers(meta):
    """Zero-shot and adapted predictions for later rows of unseen tasks."""
    models = meta.adapt_tasks(X[FIRST], Y[FIRST], groups=TASK[FIRST])
    return np.stack([np.asarray(model.predict(X[LATER], groups=TASK[LATER])) for model in (meta, models)])


@pytest.fixture(scope="module")
def fitted():
    return MetaGradientRegressor(network=of_functions(), **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])


@pytest.fixture(scope="module")
def path(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.upstairs"
    upstairs.save(fitted, path)
    return path


@pytest.mark.parametrize(
    "kind", ["functions", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in KINDS if kind != "functions")]
)  # docs/own-network.md runs the others
def test_own_networks_fit_and_survive_the_disk(kind, tmp_path):
    meta = MetaGradientRegressor(network=KINDS[kind](), **SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    zero, eight = np.mean((answers(meta) - Y[LATER]) ** 2, axis=1)
    assert meta.info_.n_skipped == 0
    assert eight < zero
    upstairs.save(meta, tmp_path / "own.upstairs")
    again = upstairs.load(tmp_path / "own.upstairs", network=KINDS[kind]())  # other functions, of the same text
    np.testing.assert_array_equal(answers(again), answers(meta))
    np.testing.assert_array_equal(again.predict(X, groups=TASK), meta.predict(X, groups=TASK))
    assert again.adapt(X[:4], Y[:4]).explain(X[:2]).exact
    upstairs.save(again, tmp_path / "twice.upstairs")
    assert (tmp_path / "twice.upstairs").read_bytes() == (tmp_path / "own.upstairs").read_bytes()


@pytest.mark.parametrize("rule", ["maml", "metasgd"])
def test_rules_of_descent_and_classes_survive_the_disk(rule, tmp_path):
    params = SMALL | {"inner": rule, "n_steps": 0, "network": of_flax()}
    meta = MetaGradientClassifier(**params).fit(X[SEEN], LABELS[SEEN], groups=TASK[SEEN])
    upstairs.save(meta, tmp_path / "own.upstairs")
    again = upstairs.load(tmp_path / "own.upstairs", network=of_flax())
    np.testing.assert_array_equal(
        again.adapt(X[:5], LABELS[:5]).predict_proba(X), meta.adapt(X[:5], LABELS[:5]).predict_proba(X)
    )
    with pytest.raises(UpstairsError, match="isn't the one"):
        upstairs.load(tmp_path / "own.upstairs", network=of_flax(9))


def test_another_process_answers_bit_for_bit_the_same(fitted, path):
    code = (
        "import sys, upstairs, test_gradient_network as t\n"
        f"meta = upstairs.load({str(path)!r}, network=t.of_functions())\n"
        "sys.stdout.write(t.answers(meta).tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert out == answers(fitted).tobytes().hex()


def test_no_function_is_in_the_file(path, capsys):
    assert read_manifest(path)["params"]["network"] == {"given": "functions"}
    assert read_manifest(path)["state"]["fields"]["shape"]["fields"]["network"]["fields"] == {"init": None, "apply": None}
    with pytest.raises(SystemExit):
        main(["info", str(path)])
    assert "network=" in capsys.readouterr().out


def test_a_missing_pair_is_named(path):
    with pytest.raises(UpstairsError, match=r"call load\('.*own.upstairs', network=\.\.\.\)"):
        upstairs.load(path)


@pytest.mark.parametrize("given", [{"network": of_functions()}, {"inner": "bayes"}, {"typo": 1}], ids=["pair", "text", "typo"])
def test_what_a_model_does_not_need_is_named(given, tmp_path):
    meta = MetaGradientRegressor(network=(8,), **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    upstairs.save(meta, tmp_path / "plain.upstairs")
    with pytest.raises(UpstairsError, match=f"needs no {next(iter(given))} from you.*leave"):
        upstairs.load(tmp_path / "plain.upstairs", **given)


def deeper():
    return tuple(make_network((8, 8)))


def wider_without_parameters():
    init, apply = of_functions()
    return init, lambda parameters, D: jnp.hstack([apply(parameters, D), D])


def failing():
    def init(key, n_inputs):
        raise RuntimeError

    return init, of_functions()[1]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (of_functions(9), r"isn't the one.*\(3, 9\)"),
        (deeper(), "isn't the one"),
        (wider_without_parameters(), "11 features"),
        (failing(), "can't be applied to rows of 3 inputs: RuntimeError"),
        ((8, 8), "the pair of functions"),
        (("wide", "deep"), "a tuple of layer widths"),
        (5, "the pair of functions"),
        (None, "a tuple of layer widths"),
    ],
    ids=["wider", "deeper", "more features", "failing", "widths", "text", "number", "none"],
)
def test_another_network_gets_one_sentence(path, network, words):
    with pytest.raises(UpstairsError, match=words) as caught:
        upstairs.load(path, network=network)
    assert "damaged" not in str(caught.value)


def nan_everywhere():
    init, apply = of_functions()
    return init, lambda parameters, D: apply(parameters, D) * jnp.nan


def log_of_a_negative_column():
    init, apply = of_functions()
    return init, lambda parameters, D: apply(parameters, jnp.log(D))


def nan_parameters():
    init, apply = of_functions()
    return lambda key, n: jax.tree.map(lambda leaf: leaf * jnp.nan, init(key, n)), apply


@pytest.mark.parametrize(
    "network", [nan_everywhere(), log_of_a_negative_column(), nan_parameters()], ids=["all", "log", "init"]
)
@pytest.mark.parametrize("learner", [MetaGradientRegressor, MetaGradientClassifier])
def test_a_network_that_gives_nan_is_refused(learner, network, tmp_path):
    meta = learner(network=network, checkpoint=tmp_path, **SMALL)
    with pytest.raises(UpstairsError, match=r"network gives NaN or infinity for .* rows"):
        meta.fit(X[SEEN], (LABELS if learner is MetaGradientClassifier else Y)[SEEN], groups=TASK[SEEN])
    assert not hasattr(meta, "state_") and list(tmp_path.iterdir()) == []


def test_whole_parameters_are_refused():
    network = (lambda key, n: jnp.ones((n, 2), int), lambda parameters, D: D @ parameters)
    with pytest.raises(UpstairsError, match="floats, but its init gives int32"):
        MetaGradientRegressor(network=network, **SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])


def test_a_network_that_turns_nan_leaves_the_best_before():
    init, apply = of_functions()

    def spoiled(parameters, D):
        return jnp.where((parameters[0]["bias"] != 0).any(), jnp.nan, apply(parameters, D))

    meta = MetaGradientRegressor(network=(init, spoiled), **SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    assert meta.info_.n_steps == 0
    assert meta.info_.n_skipped >= 49
    assert np.isfinite(meta.info_.held_out[0]) and np.isposinf(meta.info_.held_out[1:]).all()
    assert np.isfinite(answers(meta)).all()
