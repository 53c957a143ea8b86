"""A worker's look at a block that leaves a note: in a module of its own, since every worker imports it."""

import os
import pathlib
import time
import zlib

from upstairs.svm import newton


def look_and_note(folder, joint, offsets, theta, block):
    """Leaves a note of each start, and takes its time."""
    note = f"{zlib.crc32(theta.tobytes())}-{block[0]}-{time.monotonic_ns()}"
    (pathlib.Path(folder) / note).write_text(str(os.getpid()))
    time.sleep(0.03)
    return newton._look_from_afar(joint, offsets, theta, block)
