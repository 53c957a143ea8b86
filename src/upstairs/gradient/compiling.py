"""What JAX compiles is kept on disk, so that the next process need not wait for it.

Nothing is set where the user has set a cache of their own, or where the folder can't be written.
"""

import os
from pathlib import Path

import jax

__all__ = ["keep_compiled"]

LEAST_SECONDS = 0.2
"""Compiling what is quicker costs less than a file."""


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
