"""Small symmetric systems by plain elimination, which XLA maps over thousands of them at once.

Its own factorisation calls LAPACK for one matrix at a time, and jaxlib 0.10 can wait for ever where two such calls meet inside
a scan.
"""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["solve", "whiten"]


@jax.custom_vjp
def whiten(A: Any, R: Any) -> Any:
    """W = L⁻¹R for A = LLᵀ [n, n] and R [n, m], row by row of L.

    With W̄ for the gradient by W, that by R is R̄ = L⁻ᵀW̄, and that by A the symmetric part of −L⁻ᵀ Φ(W̄Wᵀ) L⁻¹, where Φ takes
    the lower triangle with half the diagonal (Murray 2016, equation 10): two more eliminations, where looking back through the
    first would keep all of its steps.
    """
    return _eliminate(A, R)[1]


def solve(A: Any, b: Any) -> Any:
    """A⁻¹b for A [n, n] positive definite and b [n], by elimination above and below the diagonal."""
    rows = jnp.arange(len(A))

    def eliminate(left, j):
        A, b = left
        others = jnp.where(rows == j, 0, A[:, j] / A[j, j])
        return (A - others[:, None] * A[j], b - others * b[j]), None

    (A, b), _ = jax.lax.scan(eliminate, (A, b), rows)
    return b / jnp.diagonal(A)


def _whiten_forward(A, R):
    upper, W = _eliminate(A, R)
    return W, (upper, W)


def _whiten_backward(kept, by_W):
    upper, W = kept
    n = len(upper)
    lower = jnp.tril(by_W @ W.T) * (1 - 0.5 * jnp.eye(n))
    both = _substitute(upper, jnp.concatenate([lower, by_W], axis=1))
    by_A = _substitute(upper, both[:, :n].T)
    return -(by_A + by_A.T) / 2, both[:, n:]


whiten.defvjp(_whiten_forward, _whiten_backward)


def _eliminate(A, R):
    """Lᵀ and L⁻¹R."""
    n = len(A)
    rows = jnp.arange(n)

    def eliminate(left, j):
        white = left[j] * jax.lax.rsqrt(jnp.maximum(left[j, j], 1e-12))
        below = jnp.where(rows > j, white[:n], 0)
        return left - below[:, None] * white, white

    white = jax.lax.scan(eliminate, jnp.concatenate([A, R], axis=1), rows)[1]
    return jnp.triu(white[:, :n]), white[:, n:]


def _substitute(upper, Y):
    """L⁻ᵀY, from the last row to the first."""
    rows = jnp.arange(len(upper))

    def substitute(left, j):
        row = left[j] / upper[j, j]
        above = jnp.where(rows < j, upper[:, j], 0)
        return left - above[:, None] * row, row

    return jax.lax.scan(substitute, Y, rows, reverse=True)[1]
