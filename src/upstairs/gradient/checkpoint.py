"""A fit that is stopped goes on where it was: the whole state of a descent in one file, written anew after every chunk.

The file carries a fingerprint of the data and parameters, so that it can't be mistaken for another fit's.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from upstairs.errors import UpstairsError

__all__ = ["Checkpoint", "fingerprint"]


class Checkpoint:
    """Where the state of one descent is kept; nowhere if there is no folder.

    Parameters
    ----------
    folder : path or None
    name : str
        Of this descent among those of the fit.
    owner : str
        Fingerprint of the fit.
    """

    def __init__(self, folder: str | os.PathLike | None, name: str, owner: str):
        self.path = None if folder is None else Path(folder) / f"{name}.safetensors"
        self.owner = owner

    def resume(self, state: Any) -> Any:
        """The state kept by an earlier, stopped fit, as a pytree like the given one; or that one itself."""
        if self.path is None or not self.path.exists():
            return state
        try:
            with safetensors.safe_open(self.path, "numpy") as file:
                owner, leaves = (file.metadata() or {}).get("owner"), [file.get_tensor(str(i)) for i in range(len(file.keys()))]
        except (OSError, safetensors.SafetensorError) as error:
            raise UpstairsError(f"{self.path} is no readable checkpoint ({error}). Delete it to start anew.") from error
        if owner != self.owner or len(leaves) != len(jax.tree.leaves(state)):
            raise UpstairsError(
                f"{self.path} is the checkpoint of another fit: of other rows, parameters or version. "
                "Give checkpoint another folder, or delete this one."
            )
        return jax.tree.unflatten(jax.tree.structure(state), leaves)

    def keep(self, state: Any) -> None:
        """Write the state; the file appears whole or not at all."""
        if self.path is None:
            return
        arrays = {str(i): np.asarray(leaf, order="C") for i, leaf in enumerate(jax.tree.leaves(state))}
        unfinished = self.path.with_suffix(".unfinished")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            safetensors.numpy.save_file(arrays, unfinished, {"owner": self.owner})
            os.replace(unfinished, self.path)
        except (OSError, safetensors.SafetensorError) as error:
            raise UpstairsError(f"checkpoint can't be written to {self.path.parent} ({error}). Give another folder.") from error


def fingerprint(*parts: Any) -> str:
    """SHA-256 of arrays and of the text of everything else."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()
