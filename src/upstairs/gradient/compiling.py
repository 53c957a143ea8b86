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

__all__ = ["compiled", "keep_compiled"]

QUICK = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
"""A descent is compiled anew for every shape of panel and then runs for seconds: half the time to compile is worth more than
a tenth of the time to run. (At level 0 it takes four times as long to run.)"""
LEAST_SECONDS = 0.2
"""Compiling what is quicker costs less than a file."""


def compiled(function: Callable) -> Callable:
    """Jitted for each `Problem`, by ``QUICK`` options where this version of XLA knows them."""

    @functools.cache
    def jitted() -> Any:
        return jax.jit(function, static_argnames="problem", compiler_options=_known_options())

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return jitted()(*args)

    return call


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


@functools.cache
def _known_options() -> dict[str, bool | int]:
    known = {}
    for name, value in QUICK.items():
        if name in os.environ.get("XLA_FLAGS", ""):
            continue
        try:
            jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known
