"""What may happen to the process of a meta-gradient fit: killed and begun again, and compiled code found by the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from upstairs import MetaGradientRegressor
from upstairs.datasets import make_random_slopes
from upstairs.gradient import compiling
from upstairs.gradient.encoder import make_network

X, Y, TASK, _ = make_random_slopes(24, 12, 2, random_state=0)
SMALL = {"n_pieces": 0, "n_folds": 2, "n_steps": 150, "batch_tasks": 4}


def fit(checkpoint=None, own=False, **params):
    network = tuple(make_network((8,))) if own else (8,)
    random_state = np.random.RandomState(0) if own else 0
    meta = MetaGradientRegressor(network=network, checkpoint=checkpoint, random_state=random_state, **SMALL | params)
    return meta.fit(X, Y, groups=TASK)


def run(code, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment = {**inherited, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


KILLED = """
import os, signal
import test_gradient_faults as t
from upstairs.gradient import checkpoint, training
whole, calls = {function}, []
def killed(*args):
    done = whole(*args)
    calls.append(1)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
{function} = killed
t.fit({folder!r}, {own})
"""
"""Dies when a function has been called so often: steps taken that aren't kept, or a file written that isn't renamed."""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize(
    ("function", "call", "own"),
    [
        pytest.param("training._descend", 2, False, id="in its steps"),
        pytest.param(
            "checkpoint.safetensors.numpy.save_file", 3, True, id="in a write, own network", marks=pytest.mark.exhaustive
        ),
    ],
)
def test_a_killed_fit_goes_on_bit_for_bit(function, call, own, tmp_path):
    died = run(KILLED.format(function=function, call=call, folder=str(tmp_path), own=own))
    assert died.returncode == -signal.SIGKILL, died.stderr
    whole, left = fit(own=own), tmp_path / "numbers.safetensors"
    assert left.exists() and len(whole.info_.loss) == 3
    before = left.read_bytes()
    resumed = fit(tmp_path, own)
    assert left.read_bytes() != before
    np.testing.assert_array_equal(resumed.info_.loss, whole.info_.loss)
    np.testing.assert_array_equal(resumed.info_.held_out, whole.info_.held_out)
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))
    np.testing.assert_array_equal(resumed.predict(X, groups=TASK), whole.predict(X, groups=TASK))


COUNTED = """
import jax
from upstairs.gradient import compiling
compiling.LEAST_SECONDS = 0  # whatever is compiled is kept, so that no clock decides
import test_gradient_faults as t
found = {"hits": 0, "misses": 0}
def count(event, **_):
    place, _, name = event.rpartition("/cache_")
    if place == "/jax/compilation_cache" and name in found:
        found[name] += 1
jax.monitoring.register_event_listener(count)
answers = t.fit(n_steps=0).adapt(t.X[:5], t.Y[:5]).predict(t.X)
print(found["hits"], found["misses"], answers.tobytes().hex())
"""


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    told = []
    for _ in range(2):
        done = run(COUNTED, XDG_CACHE_HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
        hits, misses, answers = done.stdout.split()
        told.append((int(hits), int(misses), answers))
    (_, compiled, first), (found, anew, second) = told
    assert compiled > 0 and anew == 0 and found >= compiled
    assert first == second
    assert any((tmp_path / "upstairs" / "jax").iterdir())


def kept_at(folder, monkeypatch, own=None):
    """Where JAX keeps what it compiles once it is asked to, in a cache folder and with a folder of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    before = jax.config.values["jax_compilation_cache_dir"]
    try:
        jax.config.update("jax_compilation_cache_dir", own)
        compiling.keep_compiled()
        return jax.config.values["jax_compilation_cache_dir"]
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_cache_of_the_users_own_is_left_alone(tmp_path, monkeypatch):
    assert kept_at(tmp_path, monkeypatch, own="own") == "own"
    assert not (tmp_path / "upstairs").exists()
    assert kept_at(tmp_path, monkeypatch) == str(tmp_path / "upstairs" / "jax")


def test_a_folder_that_cannot_be_made_is_no_fault(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert kept_at(tmp_path / "file", monkeypatch) is None


def test_what_the_user_tells_xla_stands(monkeypatch):
    known = compiling._is_known.__wrapped__
    monkeypatch.setenv("XLA_FLAGS", "")
    assert known("xla_backend_optimization_level", 1)
    assert not known("xla_no_such_option", 1)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=2")
    assert not known("xla_backend_optimization_level", 1)
