"""Arrays that several processes hold once: what is mapped is what was written, and nobody can pull it away."""

import mmap

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import upstairs
from dummy_learner import rows
from upstairs.mapped import map_arrays
from upstairs.persistence import load_shared

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def is_mapped(array) -> bool:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return isinstance(array, mmap.mmap) or (isinstance(array, memoryview) and isinstance(array.obj, mmap.mmap))


def test_every_kind_of_array_is_mapped_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for dtype in DTYPES:
        for name, shape in {"table": (3, 5), "row": (7,), "scalar": (), "nothing": (0, 2)}.items():
            arrays[f"{dtype} {name}"] = rng.integers(0, 100, shape).astype(dtype)
    safetensors.numpy.save_file(arrays, tmp_path / "a", metadata={"by": "us"})
    mapped = map_arrays(tmp_path / "a")
    assert mapped.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(mapped[name], array, strict=True)
        assert not mapped[name].flags.writeable and mapped[name].flags.aligned
        assert is_mapped(mapped[name])


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"\x02" + b"\x00" * 7 + b"{}" + b"left over"])
def test_what_is_no_such_file_is_refused(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises((safetensors.SafetensorError, ValueError)):
        map_arrays(tmp_path / "a")


def test_a_shared_model_answers_the_same_whatever_becomes_of_its_file(meta, saved, tmp_path):
    X, y, task = rows(seed=1)
    own = tmp_path / "m.upstairs"
    own.write_bytes(saved.read_bytes())
    shared = [load_shared(own, tmp_path / "arrays") for _ in range(2)]
    with open(own, "r+b") as file:
        file.truncate(100)
    for one in shared:
        assert is_mapped(one.known_.X) and not is_mapped(meta.known_.X)
        np.testing.assert_array_equal(one.predict(X, groups=task), meta.predict(X, groups=task))
        expected = meta.adapt(X.slice(0, 5), y[:5]).predict(X)
        np.testing.assert_array_equal(one.adapt(X.slice(0, 5), y[:5]).predict(X), expected)
    assert {path.name for path in tmp_path.iterdir()} == {"arrays", "m.upstairs"}


def test_where_nothing_can_be_written_each_keeps_its_own(saved, tmp_path):
    one = load_shared(saved, tmp_path / "no folder" / "arrays")
    assert not is_mapped(one.known_.X)
    np.testing.assert_array_equal(one.known_.X, upstairs.load(saved).known_.X)
