"""What compiled loops share: which sums may be reordered, and one layout for all that they read.

A loop is compiled anew for every layout of its arrays, seconds each time, and arrays that can't be written to are a layout of
their own: those of a mapped file, of another process, of JAX. So what a loop only reads is handed to it as read-only.
"""

import numpy as np

__all__ = ["FAST", "read_only"]

FAST = {"contract", "reassoc", "nsz"}
"""Of LLVM's freedoms with floating point, those that NaN and infinity survive."""


def read_only(array: np.ndarray) -> np.ndarray:
    """A contiguous view that can't be written to."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
