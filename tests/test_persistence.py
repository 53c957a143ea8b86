"""Saved models: what comes back is what was saved, bit for bit, in this process and in another."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import upstairs
from dummy_learner import DummyClassifier, DummyRegressor, plain_pairs, rows, same
from every_learner import SMALL_DESCENT, SMALL_FOREST, SMALL_MACHINE
from shop import sales
from upstairs import UpstairsError, flatten, learners, persistence

DATA = Path(__file__).parent / "data"
FEWER = {
    "auto": {"learners": ("shrunk-mean", "hierarchical-ridge")},
    "forest": SMALL_FOREST,
    "gradient": SMALL_DESCENT,
    "svm": SMALL_MACHINE,
}
"""Parameters that make a fit quicker."""
REAL = [name for name, (module, *_) in learners.LEARNERS.items() if module.startswith("upstairs.")]


def plain_numbers(info):
    return info._replace(rounds=int(info.rounds))


def test_everything_fitted_comes_back(meta, saved):
    back = upstairs.load(saved)
    assert type(back) is DummyRegressor
    assert back.get_params() == meta.get_params() == {"rate": float("inf"), "widths": (1, 2), "random_state": 0}
    same(plain_pairs(meta.state_), back.state_)
    same(plain_numbers(meta.info_), back.info_)
    same(meta.known_, back.known_)
    assert back.n_features_in_ == 2
    assert back.feature_names_in_.tolist() == ["size", "kind"]
    assert back.names_ == persistence.Names("store", "sales")


def test_a_loaded_model_saves_to_the_same_bytes(saved, tmp_path):
    upstairs.save(upstairs.load(saved), tmp_path / "again.upstairs")
    assert (tmp_path / "again.upstairs").read_bytes() == saved.read_bytes()


def test_a_new_process_predicts_bit_for_bit_the_same(meta, saved):
    X, _, task = rows(seed=1)
    code = (
        "import sys, numpy as np, upstairs, dummy_learner as t\n"
        "X, _, task = t.rows(seed=1)\n"
        f"meta = upstairs.load({str(saved)!r})\n"
        "answers = [meta.predict(X), meta.predict(X, groups=task), meta.predict_interval(X, groups=task)]\n"
        "sys.stdout.write(np.concatenate([np.asarray(a).ravel() for a in answers]).tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    answers = [meta.predict(X), meta.predict(X, groups=task), meta.predict_interval(X, groups=task)]
    assert out == np.concatenate([np.asarray(a).ravel() for a in answers]).tobytes().hex()


@pytest.mark.parametrize(
    "classes",
    [
        np.array([3, 7]),
        np.array([0.0, 2.0]),
        np.array(["no", "yes", "ümlaut"]),
        np.array([False, True]),
        np.array(["b", "a"], object),
    ],
    ids=lambda classes: classes.dtype.str,
)
def test_classes_keep_their_dtype(classes, tmp_path):
    X, _, task = rows()
    meta = DummyClassifier().fit(X, classes[np.arange(40) % len(classes)], groups=task)
    upstairs.save(meta, tmp_path / "m.upstairs")
    back = upstairs.load(tmp_path / "m.upstairs")
    same(meta.classes_, back.classes_)
    assert np.array_equal(np.asarray(back.predict_proba(X, groups=task)), np.asarray(meta.predict_proba(X, groups=task)))


@pytest.mark.parametrize(
    "ids",
    [
        ["a", "b", "ß\ud800"],
        [1, 2, 3],
        np.array([1, 2], np.int16),
        np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"),
        np.array(["x", 1, 2.5, True, np.int64(9)], object),
    ],
    ids=["text", "int", "int16", "dates", "mixed"],
)
def test_ids_of_known_tasks_come_back(meta, ids, tmp_path):
    copy = DummyRegressor().set_params(**meta.get_params())
    vars(copy).update(vars(meta))
    copy.known_ = meta.known_.take(np.arange(len(ids)) % 4)._replace(ids=np.asarray(ids))
    copy.state_, copy._reference = meta.state_._replace(fold=np.zeros(len(ids), np.int8)), None
    upstairs.save(copy, tmp_path / "m.upstairs")
    back = upstairs.load(tmp_path / "m.upstairs").known_.ids
    assert back.dtype == copy.known_.ids.dtype
    assert back.tolist() == copy.known_.ids.tolist()


def test_without_known_tasks_no_training_row_is_inside(meta, tmp_path):
    upstairs.save(meta, tmp_path / "m.upstairs", known_tasks=False)
    back = upstairs.load(tmp_path / "m.upstairs")
    assert back.known_.n_tasks == len(back.known_.X) == 0
    X, _, task = rows(seed=1)
    assert np.array_equal(np.asarray(back.predict(X, groups=task)), np.asarray(meta.predict(X)))


def test_what_cannot_be_saved_is_said(meta, tmp_path):
    path = tmp_path / "m.upstairs"
    with pytest.raises(UpstairsError, match="AdaptedRegressor"):
        upstairs.save(meta.adapt(*rows(3)[:2]), path)
    with pytest.raises(UpstairsError, match="call fit before save"):
        upstairs.save(DummyRegressor(), path)
    with pytest.raises(UpstairsError, match="rate is a set"):
        upstairs.save(DummyRegressor(rate={1}).fit(*rows()), path)
    with pytest.raises(UpstairsError, match="no such file or folder"):
        upstairs.save(meta, tmp_path / "missing" / "m.upstairs")
    with pytest.raises(UpstairsError, match="is a directory"):
        upstairs.save(meta, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_learner_that_leaves_its_annotations_is_a_bug(meta):
    for value, hint in [(1.5, int), ("a", int | None), ((1, 2), tuple[int, int, int]), ({}, float), (True, float), (None, str)]:
        with pytest.raises(TypeError, match="annotation"):
            flatten.flatten(value, hint, "here", flatten.Parts({}, {}))


@pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])
def test_real_learners_answer_the_same_in_a_new_process(classify, tmp_path):
    expected = []
    names = [name for name in REAL if name != "gradient"]  # which compiles for a minute, and has such a test of its own
    for name in names:
        meta = learners.learner_class(name, classify)(random_state=0, **FEWER.get(name, {})).fit(*example(classify))
        upstairs.save(meta, tmp_path / name)
        expected.append(answers(meta, classify))
        same(meta.state_.fold, upstairs.load(tmp_path / name).state_.fold)
        assert answers(persistence.load_shared(tmp_path / name, tmp_path / f"{name}.arrays"), classify) == expected[-1]
    code = (
        "import upstairs, test_persistence as t\n"
        f"for name in {names}: print(t.answers(upstairs.load({str(tmp_path)!r} + '/' + name), {classify}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert dict(zip(names, out.split(), strict=True)) == dict(zip(names, expected, strict=True))


def example(classify):
    table = sales()
    y = np.asarray(table["sales"])
    return (
        table.select(["price", "kind"]),
        np.array(["low", "mid", "high"])[np.digitize(y, [25, 40])] if classify else y,
        table["store"],
    )


def answers(meta, classify):
    """Checksum of what a meta-model says to unseen, known and new tasks, from nothing, one row and some."""
    X, y, groups = example(classify)
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    models = meta.adapt_tasks(X.slice(0, 30), y[:30], groups=place[:30])
    ask = "predict_proba" if classify else "predict_quantiles"
    one = meta.adapt(X.slice(0, 1), y[:1])
    asked = [(meta, None), (meta, groups), (one, None), (models, place)]
    said = [getattr(model, ask)(X, groups=task) for model, task in asked]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in said)).hexdigest()


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("classify", [False, True])
def test_every_learner_says_what_it_leaves_behind(name, classify):
    """A field of State or Info that can't be saved is found here, before any fit."""
    cls = learners.learner_class(name, classify)
    for record in (cls.learner.state, cls.learner.info):
        assert_can_be_saved(record)


def assert_can_be_saved(hint):
    for option in flatten._options(hint):
        if flatten._is_record(option):
            for field in flatten.typing.get_type_hints(option, include_extras=True).values():
                # what depends on the fields beside it is a state of another learner
                if flatten.typing.get_origin(field) is not flatten.typing.Annotated:
                    assert_can_be_saved(field)
        elif flatten.typing.get_origin(option) is tuple:
            for item in flatten.typing.get_args(option):
                assert item is Ellipsis or assert_can_be_saved(item) is None
        else:
            assert option in (np.ndarray, int, float, bool, str, type(None), Callable), f"{option} can't be saved"


# Files of older formats load for ever.


def write_example(folder=DATA):
    """The model of today's format that must load for ever: `python tests/test_persistence.py` writes it, once a format."""
    folder.mkdir(exist_ok=True)
    X, y, groups = example(classify=False)
    X, y, groups = X.slice(0, 60), y[:60], groups.slice(0, 60)
    meta = learners.learner_class("shrunk-mean", False)(random_state=0).fit(X, y, groups=groups)
    upstairs.save(meta, folder / f"format-{persistence.FORMAT}.upstairs", task_name="store", target_name="sales")
    asked = {"X": X.slice(0, 20).to_pydict(), "task": ["000"] * 10 + ["nobody's"] * 10}
    said = np.asarray(meta.predict(X.slice(0, 20), groups=np.array(asked["task"]))).tolist()
    (folder / f"format-{persistence.FORMAT}.json").write_text(json.dumps({**asked, "prediction": said}, indent=1) + "\n")


@pytest.mark.parametrize("path", sorted(DATA.glob("format-*.upstairs")), ids=lambda path: path.stem)
def test_old_files_load(path):
    meta = upstairs.load(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    X = pa.table({name: pa.array(values) for name, values in expected["X"].items()})
    got = np.asarray(meta.predict(X, groups=np.array(expected["task"])))
    np.testing.assert_allclose(got, expected["prediction"], rtol=1e-9)


def test_each_format_has_its_file():
    assert {path.stem for path in DATA.glob("format-*.upstairs")} == {f"format-{i + 1}" for i in range(persistence.FORMAT)}


def test_fingerprint_is_plain_sha256():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert flatten.fingerprint(array)["sha256"] == hashlib.sha256(array.tobytes()).hexdigest()
    assert flatten.fingerprint(np.asfortranarray(array)) == flatten.fingerprint(array)
    assert flatten.fingerprint(np.empty((0, 3))) == {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}


if __name__ == "__main__":
    write_example()
