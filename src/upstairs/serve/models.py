"""The models that are served: files and folders of files, loaded again when they change, without a request noticing.

A look compares each file's time, size and inode with those of the last look. A changed file is loaded beside the old model and
takes its place in one assignment; requests under way keep the one they began with. What can't be loaded leaves the old model
in place, and a note. A file that is gone is withdrawn. Names come from file names and are only ever looked up among the
models that were found, so none can lead out of its folder.
"""

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import upstairs
from upstairs.errors import UpstairsError
from upstairs.frames import Lists
from upstairs.persistence import load_shared, read_manifest
from upstairs.serve.logs import log
from upstairs.serve.metrics import Metrics
from upstairs.serve.problems import Problem

__all__ = ["SUFFIX", "Model", "Models"]

SUFFIX = ".upstairs"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_Stamp = tuple[int, int, int]


class Model(NamedTuple):
    """A model that is served.

    Attributes
    ----------
    name : str
        That of its file, without the ending.
    version : str
        The first digits of the file's SHA-256.
    meta : fitted MetaEstimator
    target : str
        The column of labelled rows that holds the target.
    known : dict
        Position of each task that the fit knew, by its name as text.
    loaded : float
        Seconds since 1970.
    """

    name: str
    version: str
    meta: Any
    target: str
    known: dict[str, int]
    loaded: float

    @property
    def classifies(self) -> bool:
        return "classes_" in vars(self.meta)


class Models:
    """The models by name; `look` keeps them as their files are.

    Parameters
    ----------
    places : sequence of str
        Model files, and folders whose files that end in .upstairs are models.
    shared : str, optional
        A folder where workers put the models' arrays, to hold them in memory once.

    Attributes
    ----------
    notes : dict
        By model name: why its file, as it is now, isn't served.
    """

    def __init__(self, places: tuple[str, ...], metrics: Metrics, shared: str | None = None):
        self._metrics = metrics
        self._shared = None if shared is None else Path(shared)
        self._places = [Path(place) for place in places]
        self._models: dict[str, Model] = {}
        self._stamps: dict[str, _Stamp] = {}
        self.notes: dict[str, str] = {}

    def __getitem__(self, name: str) -> Model:
        """The model of that name, or the Problem that there is none."""
        try:
            return self._models[name]
        except KeyError:
            there = ", ".join(sorted(self._models)) or "none"
            raise Problem("unknown-model", f"There is no model {name!r}; there is {there}.") from None

    def all(self) -> list[Model]:
        return sorted(self._models.values())

    def look(self) -> None:
        """Load what is new or changed, and withdraw what is gone."""
        try:
            files = self._find()
        except OSError as error:  # a folder that can't be read for a moment takes nothing away
            log("models unreadable", "error", reason=str(error))
            return
        for name in self._stamps.keys() - files.keys():
            self._models.pop(name, None)
            self.notes.pop(name, None)
            del self._stamps[name]
            log("model withdrawn", model=name)
        for name, (path, stamp) in files.items():
            if self._stamps.get(name) != stamp:
                self._stamps[name] = stamp
                self._load(name, path)

    def _find(self) -> dict[str, tuple[Path, _Stamp]]:
        files = {}
        for name, path in _named_files(self._places):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                files[name] = path, (status.st_mtime_ns, status.st_size, status.st_ino)
        return files

    def _load(self, name: str, path: Path) -> None:
        start = time.perf_counter()
        try:
            model = load(name, path, self._shared)
        except Exception as error:  # whatever it is, the old model goes on
            self.notes[name] = str(error)
            self._metrics.model_file(name, loaded=False)
            log("model refused", "error", model=name, reason=str(error), served=name in self._models)
            return
        if self._shared and name in self._models and self._models[name].version != model.version:
            _arrays_file(self._shared, name, self._models[name].version).unlink(missing_ok=True)  # whoever maps it, keeps it
        self._models[name] = model
        self.notes.pop(name, None)
        self._metrics.model_file(name, loaded=True)
        log("model loaded", model=name, version=model.version, seconds=round(time.perf_counter() - start, 3))


def load(name: str, path: Path, shared: Path | None = None) -> Model:
    """A model that has predicted once: what has to be compiled is compiled, and a file that can't predict is found out."""
    with open(path, "rb") as file:
        version = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    meta = load_shared(path, _arrays_file(shared, name, version)) if shared else upstairs.load(path)
    known = {str(task): position for position, task in enumerate(meta.known_.ids.tolist())}
    model = Model(name, version, meta, meta.names_.target or "y", known, time.time())
    if model.target in meta.columns_.names:
        raise UpstairsError(f"{path} has a column {model.target!r}, as its target is called: save it with another target_name.")
    row = Lists({column: [None] for column in meta.columns_.names})
    meta.adapt(row, [meta.classes_.tolist()[0] if model.classifies else 1.0]).predict_all(row)
    return model


def check_places(places: tuple[str, ...]) -> None:
    """An UpstairsError for a place without a model, or with one that can't be loaded, before anything is served."""
    for place in map(Path, places):
        if not place.exists():
            raise UpstairsError(f"There is no model file or folder {os.fspath(place)!r}. Make one with upstairs fit -o.")
        if place.is_file():
            read_manifest(place)
    names: dict[str, Path] = {}
    for name, path in _named_files(list(map(Path, places))):
        if name in names and names[name].resolve() != path.resolve():
            raise UpstairsError(f"{names[name]} and {path} are both called {name!r}. Give one of them another name.")
        names[name] = path


def _arrays_file(shared: Path, name: str, version: str) -> Path:
    return shared / f"{name}-{version}.safetensors"


def _named_files(places: list[Path]) -> list[tuple[str, Path]]:
    """Model files by their names, without those whose names aren't plain."""
    paths = [path for place in places for path in (sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place])]
    named = [(path.name.removesuffix(SUFFIX), path) for path in paths]
    return [(name, path) for name, path in named if _PLAIN_NAME.fullmatch(name)]
