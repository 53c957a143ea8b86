"""How JAX compiles: quickly, and what it has compiled is kept on disk, so that the next process need not wait for it.

No folder is set where the user has set a cache of their own, or where it can't be written, and no option that stands in the
user's ``XLA_FLAGS``.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

__all__ = ["compiled", "compiled_soon", "keep_compiled"]

QUICK = {"xla_backend_optimization_level": 1}
"""Half the time to compile, and hardly slower. (At level 0 it takes four times as long to run.)"""
PLAIN = {"xla_cpu_use_fusion_emitters": False}
"""A third less of what is left to compile, but tanh takes three times as long: a step of a descent a third more."""
LEAST_SECONDS = 0.2
"""Compiling what is quicker costs less than a file."""


def compiled(function: Callable) -> Callable:
    """Jitted for each `Problem`, to run fast: for answers, of which there are millions."""
    return _jitted(function, QUICK)


def compiled_soon(function: Callable) -> Callable:
    """Jitted for each `Problem`, to compile fast: for a descent, which every shape of panel needs anew, for seconds."""
    return _jitted(function, QUICK | PLAIN)


def keep_compiled() -> None:
    """Give JAX a cache in the user's cache folder."""
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "upstairs" / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)


def _jitted(function: Callable, options: dict[str, bool | int]) -> Callable:
    @functools.cache
    def jitted() -> Any:
        known = {name: value for name, value in options.items() if _is_known(name, value)}
        return jax.jit(function, static_argnames="problem", compiler_options=known)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return jitted()(*args)

    return call


@functools.cache
def _is_known(option: str, value: bool | int) -> bool:
    """Does this version of XLA know an option that the user has said nothing of?"""
    if option in os.environ.get("XLA_FLAGS", ""):
        return False
    try:
        jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
