"""A user's own network: checked before it is learned, and put back into a model whose file couldn't hold it.

A file holds the parameters of such a network, which are arrays, but not its two functions: `load` is given them again.
"""

from numbers import Integral
from typing import Any

import jax
import numpy as np

from upstairs.errors import UpstairsError
from upstairs.gradient.encoder import Network, make_network
from upstairs.gradient.inner import State, problem_of, theta_of
from upstairs.gradient.rows import InputRows

__all__ = ["check_finite", "check_network", "restore", "shapes_of", "width_of"]

BLOCK = 8192
"""Rows that are looked at together."""


def check_network(network: Any) -> tuple[int, ...] | Network:
    """Widths as a tuple of integers, or the user's pair of functions."""
    parts = tuple(network) if np.iterable(network) else (network,)
    if len(parts) == 2 and all(callable(part) for part in parts):
        return Network(*parts)
    if not all(isinstance(width, Integral) and int(width) > 0 for width in parts):
        raise UpstairsError(
            f"network must be a tuple of layer widths, as (64, 64), or a pair of functions (init, apply), but is {network!r}."
        )
    return tuple(int(width) for width in parts)


def width_of(network: tuple[int, ...] | Network, n_inputs: int) -> int:
    """Features that a network gives, or an error that says what it should."""
    init, apply = make_network(network)
    try:
        parameters = jax.eval_shape(lambda: init(jax.random.PRNGKey(0), n_inputs))
        out = jax.eval_shape(apply, parameters, jax.ShapeDtypeStruct((3, n_inputs), np.float32))
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UpstairsError(f"network can't be applied to rows of {n_inputs} inputs: {reason}") from error
    if getattr(out, "ndim", 0) != 2 or out.shape[0] != 3:
        raise UpstairsError(
            f"network must turn rows [n, {n_inputs}] into features [n, h], but turns 3 rows into shape "
            f"{list(getattr(out, 'shape', ()))}."
        )
    if whole := [leaf.dtype.name for leaf in jax.tree.leaves(parameters) if not np.issubdtype(leaf.dtype, np.floating)]:
        raise UpstairsError(f"network must have parameters that descent can move, floats, but its init gives {whole[0]}.")
    return int(out.shape[1])


def check_finite(network: tuple[int, ...] | Network, rows: InputRows) -> None:
    """An error where a user's network, as it starts, gives NaN or infinity for rows that are finite."""
    if not isinstance(network, Network):
        return
    q = rows.matrix(slice(0)).shape[1]
    parameters, apply = network.init(jax.random.PRNGKey(0), q), jax.jit(network.apply)
    for start in range(0, rows.n_rows, BLOCK):
        bad = ~np.isfinite(apply(parameters, rows.matrix(slice(start, start + BLOCK)))).all(axis=1)
        if bad.any():
            raise UpstairsError(
                f"network gives NaN or infinity for {bad.sum()} of the first {start + len(bad)} rows before it has learned "
                "anything: its init and apply must give finite features for every row of finite inputs."
            )


def shapes_of(network: tuple[int, ...] | Network, n_inputs: int) -> list[tuple[int, ...]]:
    """Shapes of a network's parameters, in order."""
    parameters = jax.eval_shape(lambda: make_network(network).init(jax.random.PRNGKey(0), n_inputs))
    return [leaf.shape for leaf in jax.tree.leaves(parameters)]


def restore(state: State, params: dict) -> State:
    """A state from a file, with the network that its user gives again; one of widths is in the file."""
    if not isinstance(state.shape.network, Network):
        return state
    network, n_inputs = check_network(params["network"]), state.shape.n_inputs
    if not isinstance(network, Network):
        raise UpstairsError(
            f"network must be the pair of functions (init, apply) that fit was given, but is {params['network']!r}."
        )
    state = state._replace(shape=state.shape._replace(network=network))
    width, shapes = width_of(network, n_inputs), shapes_of(network, n_inputs)
    if n_inputs + width != state.shape.n_features or not _holds(state, shapes):
        raise UpstairsError(
            f"network isn't the one that this model was fitted with: it turns {n_inputs} inputs into {width} features by "
            f"parameters of shapes {shapes}, and the file holds others. Give the pair (init, apply) that fit was given."
        )
    return state


def _holds(state: State, shapes: list[tuple[int, ...]]) -> bool:
    """Are these the shapes of the parameters that the state's heads learned?"""
    try:
        thetas = [theta_of(problem_of(state.shape), head) for head in state.heads]
    except ValueError:  # of jax.tree.unflatten: too many leaves, or too few
        return False
    return all([leaf.shape[1:] for leaf in jax.tree.leaves(weights["network"])] == shapes for weights, _ in thetas)
