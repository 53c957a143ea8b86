"""Elimination, and the gradient through it, against LAPACK and JAX's own factorisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from upstairs.gradient.rules.elimination import solve, whiten


@pytest.fixture
def system():
    rng = np.random.default_rng(0)
    Z, R = rng.normal(size=(6, 9)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
    return Z, R


def test_whitening_is_the_inverse_factor_applied(system):
    Z, R = system
    A = Z @ Z.T + np.eye(6, dtype=np.float32)
    expected = linalg.solve_triangular(linalg.cholesky(A, lower=True), R, lower=True)
    np.testing.assert_allclose(whiten(A, R), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(solve(jnp.array(A), jnp.array(R[:, 0])), np.linalg.solve(A, R[:, 0]), rtol=1e-4, atol=1e-5)


def test_its_gradient_is_that_through_a_factorisation(system):
    def through_lapack(A, R):
        return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(A), R, lower=True)

    def gradient(function):
        return jax.grad(lambda Z, R: jnp.sin(function(Z @ Z.T + jnp.eye(6), R)).sum(), argnums=(0, 1))(*system)

    for own, expected in zip(gradient(whiten), gradient(through_lapack), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_many_systems_are_whitened_side_by_side(system):
    Z, R = (jnp.stack([part, 2 * part, -part]) for part in system)
    A = Z @ Z.swapaxes(1, 2) + jnp.eye(6)
    for one, expected in zip(jax.vmap(whiten)(A, R), map(whiten, A, R), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5)
