"""Save a fitted meta-model to one file, and load it: a zip of manifest.json, state.safetensors and texts/. Never pickle.

    manifest.json       who and what: format number, learner, parameters, columns, the tree of everything fitted
    state.safetensors   every array of numbers, by its place in the tree
    texts/              long strings (LightGBM's own model text) and lists of text (task ids, labels)

The tree is rebuilt along the type annotations of the learner's `State` and `Info` (`contract.Learner`), so a file can name
neither a function nor a module, and nothing in it is run. Every array and text carries its size and SHA-256. Functions
among the parameters aren't in it: `load` is given them again, and the learner's ``restore`` puts them where they belong.

To raise the format number: change what is written, add one to ``FORMAT``, teach `_upgrade` to turn an older manifest into the
newer one, save a small model as tests/data/format-<number>.upstairs (it must load for ever) and add a line to
docs/file-format.md. A new field with a default in a NamedTuple, or a new parameter, needs no new number.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from upstairs import __version__
from upstairs.archive import Archive, damaged, whole_file, write_archive
from upstairs.contract import MetaEstimator
from upstairs.errors import UpstairsError
from upstairs.flatten import Parts, fingerprint, flatten, plain, rebuild, unplain
from upstairs.learners import LEARNERS, class_by_name
from upstairs.mapped import map_arrays
from upstairs.novelty import Reference
from upstairs.table import Columns
from upstairs.tasks import Tasks

__all__ = ["FORMAT", "Names", "load", "load_shared", "read_manifest", "save"]

FORMAT = 1

_MANIFEST, _ARRAYS = "manifest.json", "state.safetensors"
_LARGEST_MANIFEST = 32 * 2**20
_GIVEN = {"given": "functions"}
"""Stands for a parameter that is a function, or holds functions only."""


class Names(NamedTuple):
    """The user's names of the columns that aren't features."""

    task: str | None = None
    target: str | None = None


def save(
    meta: MetaEstimator,
    path: str | os.PathLike,
    *,
    known_tasks: bool = True,
    task_name: str | None = None,
    target_name: str | None = None,
) -> None:
    """Save a fitted meta-model to one file, which appears whole or not at all.

    Parameters
    ----------
    meta : fitted MetaEstimator
    path : str or path
        By custom it ends in ``.upstairs``; an existing file is replaced.
    known_tasks : bool, default=True
        Keep the (at most 150) rows of each meta-train task by which it is known. Without them the file holds no training
        rows, and every task is unseen.
    task_name, target_name : str, optional
        Names of the task and target column, for the command line; by default those of the file it was loaded from.

    Raises
    ------
    UpstairsError
        Where the model isn't fitted, holds what can't be saved, or the file can't be written.

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> upstairs.save(meta, "stores.upstairs")  # doctest: +SKIP
    """
    cls = _check_can_be_saved(meta)
    old = getattr(meta, "names_", Names())
    parts = Parts({}, {})
    known = meta.known_ if known_tasks else meta.known_.take(np.array([], int))
    manifest = {
        "upstairs": __version__,
        "format": FORMAT,
        "learner": cls.__name__,
        "params": {name: _flatten_param(name, value) for name, value in meta.get_params(deep=False).items()},
        "names": {"task": task_name or old.task, "target": target_name or old.target},
        "columns": meta.columns_.to_manifest(),
        "known": flatten(known, Tasks, "known", parts),
        "state": flatten(meta.state_, cls.learner.state, "state", parts),
        "info": flatten(meta.info_, cls.learner.info, "info", parts),
        "novelty": flatten(_reference_of(meta), Reference | None, "novelty", parts),
        "classes": flatten(getattr(meta, "classes_", None), np.ndarray | None, "classes", parts),
    }
    texts = {name: text.encode("utf-8", "surrogatepass") for name, text in parts.texts.items()}
    manifest["texts"] = {name: fingerprint(content) for name, content in texts.items()}
    text = json.dumps(manifest, allow_nan=False, indent=1).encode()
    if len(text) > _LARGEST_MANIFEST:
        raise UpstairsError(f"{path} can't be saved: its columns have too many categories to list ({len(text):,} bytes).")
    write_archive(path, {_MANIFEST: text, _ARRAYS: safetensors.numpy.save(parts.arrays), **texts})


def load(path: str | os.PathLike, **functions: Any) -> Any:
    """Load a meta-model that `save` wrote; it predicts bit for bit what the saved one did.

    Parameters
    ----------
    path : str or path
    **functions
        Those parameters of the model that are functions, as they were when it was fitted: ``network=(init, apply)`` of a user's
        own network. Most models have none.

    Returns
    -------
    meta : fitted MetaEstimator

    Raises
    ------
    UpstairsError
        Where the file is missing, damaged, or of a newer format than this version reads, or where functions are missing, or
        aren't those that the model was fitted with.

    See Also
    --------
    save : The way there.

    Examples
    --------
    >>> meta = upstairs.load("stores.upstairs")  # doctest: +SKIP
    >>> meta = upstairs.load("stores.upstairs", network=(init, apply))  # doctest: +SKIP
    """
    return _load(path, functions, _read_arrays)


def load_shared(path: str | os.PathLike, arrays: Path) -> Any:
    """`load`, for several processes that hold the model's arrays once: they map them from a file of their own, ``arrays``.

    The first process writes that file, whose name must be another for every other model. Where it can't be written, the
    process keeps arrays of its own.
    """

    def share(archive: Archive) -> dict[str, np.ndarray]:
        if not arrays.exists():
            try:
                with whole_file(arrays) as file:
                    file.write(archive.read(_ARRAYS))
            except UpstairsError:
                return _read_arrays(archive)
        return map_arrays(arrays)

    return _load(path, {}, share)


def _load(path: str | os.PathLike, functions: dict, read_arrays: Callable[[Archive], dict[str, np.ndarray]]) -> Any:
    with Archive(path) as archive, damaged(path):
        manifest = _manifest_of(archive)
        if (cls := class_by_name(manifest["learner"])) is None:
            raise ValueError(f"its learner {manifest['learner']!r} is none of {', '.join(LEARNERS)}")
        if differing := archive.names() ^ {_MANIFEST, _ARRAYS, *manifest["texts"]}:
            raise ValueError(f"the manifest and the entries differ by {', '.join(sorted(differing))}")
        parts = Parts(read_arrays(archive), _read_texts(archive, manifest["texts"]))
        _check_given(functions, cls, manifest["params"], path)
        stored = {name: _rebuild_param(node) for name, node in manifest["params"].items() if node != _GIVEN}
        meta = cls(**stored, **functions)
        meta._set_columns(Columns.from_manifest(manifest["columns"]))
        meta.known_ = rebuild(manifest["known"], Tasks, "known", parts)
        state = rebuild(manifest["state"], cls.learner.state, "state", parts)
        meta.state_ = cls.learner.restore(state, meta.get_params(deep=False))
        meta.info_ = rebuild(manifest["info"], cls.learner.info, "info", parts)
        meta._reference = rebuild(manifest.get("novelty"), Reference | None, "novelty", parts)
        meta.names_ = Names(**manifest["names"])
        if manifest["classes"] is not None:
            meta.classes_ = rebuild(manifest["classes"], np.ndarray, "classes", parts)
    return meta


def read_manifest(path: str | os.PathLike) -> dict:
    """What a file says about itself, without loading the model.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    manifest : dict
        Among others ``learner``, ``params``, ``names``, ``columns``, ``format`` and ``upstairs`` (the version that saved it).
    """
    with Archive(path) as archive, damaged(path):
        return _manifest_of(archive)


def _check_can_be_saved(meta: Any) -> type[MetaEstimator]:
    cls = type(meta)
    if class_by_name(cls.__name__) is not cls:
        raise UpstairsError(
            f"save keeps the meta-models of upstairs, but this is a {cls.__name__}. "
            "Of an adapted model save model.meta and the support rows, and adapt again."
        )
    if "state_" not in vars(meta):
        raise UpstairsError(f"This {cls.__name__} isn't fitted yet: call fit before save.")
    return cls


def _reference_of(meta: MetaEstimator) -> Reference | None:
    """How surprising known tasks are, which can't be learned once their rows are gone; None where there are none."""
    return meta.novelty_reference_ if meta._reference is not None or meta.known_.n_tasks > 1 else None


def _check_given(functions: dict, cls: type[MetaEstimator], params: dict, path: str | os.PathLike) -> None:
    needed = {name for name, node in params.items() if node == _GIVEN}
    for name in sorted(needed - functions.keys()):
        raise UpstairsError(
            f"{path} holds no functions, and {name} of this {cls.__name__} is made of them: "
            f"call load({os.fspath(path)!r}, {name}=...) with what its constructor was given."
        )
    for name in sorted(functions.keys() - needed):
        raise UpstairsError(
            f"{path} needs no {name} from you, it holds all that this {cls.__name__} was given: leave {name} out."
        )


def _manifest_of(archive: Archive) -> dict:
    if archive.size(_MANIFEST) > _LARGEST_MANIFEST:
        raise ValueError(f"its manifest claims {archive.size(_MANIFEST):,} bytes")
    manifest = json.loads(archive.read(_MANIFEST))
    if not isinstance(manifest["format"], int) or manifest["format"] < 1:
        raise ValueError(f"its format is {manifest['format']!r}")
    if manifest["format"] > FORMAT:
        raise UpstairsError(
            f"{archive.path} was written by a newer upstairs, {manifest['upstairs']} "
            f"(format {manifest['format']}; this one reads up to {FORMAT}): upgrade upstairs."
        )
    return _upgrade(manifest)


def _upgrade(manifest: dict) -> dict:
    """A manifest of any older format as one of today's; there is no older one yet."""
    return manifest


def _read_arrays(archive: Archive) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load(archive.read(_ARRAYS))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{_ARRAYS}: {error}") from error


def _read_texts(archive: Archive, fingerprints: dict[str, dict]) -> dict[str, str]:
    texts = {}
    for name, expected in fingerprints.items():
        if archive.size(name) != expected["bytes"]:
            raise ValueError(f"{name} has {archive.size(name):,} bytes instead of {expected['bytes']:,}")
        content = archive.read(name)
        if fingerprint(content) != expected:
            raise ValueError(f"the checksum of {name} doesn't match")
        texts[name] = content.decode("utf-8", "surrogatepass")
    return texts


def _flatten_param(name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if callable(value) or (isinstance(value, list | tuple) and value and all(callable(item) for item in value)):
        return _GIVEN
    if isinstance(value, list | tuple):
        return [_flatten_param(name, item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.random.RandomState):
        return None  # fit has used it; the fitted model doesn't depend on it
    if value is not None and type(value) not in (bool, int, float, str):
        raise UpstairsError(f"The parameter {name} is a {type(value).__name__}, which can't be saved; give text or numbers.")
    return plain(value)


def _rebuild_param(node: Any) -> Any:
    return tuple(_rebuild_param(item) for item in node) if isinstance(node, list) else unplain(node)
