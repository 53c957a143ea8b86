"""Everything about trust works from a packed store as from the table that was packed, and gives the same numbers."""

import json

import numpy as np
import pandas as pd
import pytest

import upstairs
from every_learner import CLASSIFIERS, REGRESSORS
from shop import run
from upstairs import UpstairsError, UpstairsWarning
from upstairs import store as store_room

N_STORES, SIZE = 24, 14
COLUMNS = ["price", "kind", "day"]
HOW = {"cv": 3, "shots": (0, 2, 5), "baselines": ["task-ridge"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows of stores, mixed; packed with numbers and with classes to predict."""
    rng, n = np.random.default_rng(0), N_STORES * SIZE
    level = rng.normal(50, 8, N_STORES).repeat(SIZE)
    rows = pd.DataFrame({"store": [f"store {t:02}" for t in range(N_STORES) for _ in range(SIZE)]})
    rows["price"] = np.where(rng.random(n) < 0.05, np.nan, rng.integers(100, 300, n) / 100)
    rows["kind"] = rng.choice(["mall", "street", "rare"], n, p=[0.5, 0.49, 0.01])
    rows["day"] = pd.Timestamp("2024-05-01") + pd.to_timedelta(np.tile(np.arange(SIZE), N_STORES), "D")
    rows["sales"] = level - 8 * rows["price"].fillna(2) + 4 * (rows["kind"] == "mall") + rng.normal(0, 1, n)
    rows["busy"] = np.where(rows["sales"] > 36, "yes", "no")
    rows = rows.sample(frac=1, random_state=0)
    folder = tmp_path_factory.mktemp("stored")
    rows.to_parquet(folder / "rows.parquet", index=False)
    for target, other in (("sales", "busy"), ("busy", "sales")):
        upstairs.pack(folder / "rows.parquet", folder / f"{target}.tasks", task="store", target=target, ignore=[other])
    return folder


def both(folder, learner, target, **how):
    """The evaluation of the table, and that of the store."""
    rows, meta = pd.read_parquet(folder / "rows.parquet"), (REGRESSORS if target == "sales" else CLASSIFIERS)[learner]
    how = {**HOW, **how}
    table = upstairs.evaluate(meta, rows[COLUMNS], rows[target], rows["store"], **how)
    return table, upstairs.evaluate(meta, upstairs.open_store(folder / f"{target}.tasks"), **how)


@pytest.mark.parametrize("target", ["sales", "busy"])
@pytest.mark.parametrize(("learner", "order"), [("hierarchical-ridge", None), ("hierarchical-ridge", "day"), ("forest", None)])
def test_an_evaluation_of_a_store_is_that_of_its_table(learner, order, target, folder):
    table, store = both(folder, learner, target, order=order)
    assert store.sentences() == table.sentences()
    for name, errors in table.errors().items():
        np.testing.assert_allclose(store.errors()[name], errors, rtol=1e-4)
    a, b = (one.to_dict()["tasks"] for one in (table, store))
    assert (a["task"], a["n_rows"]) == (b["task"], b["n_rows"])
    assert type(store.summary()).__name__ == "Table"  # of Arrow
    assert store.warnings == table.warnings


def test_its_report_is_that_of_its_table(folder):
    table, store = both(folder, "hierarchical-ridge", "sales")
    page = store.to_html()
    for sentence in (*table.sentences_by_topic().values(), "Predicting sales for a new store", "2.4"):
        assert sentence.replace(" %", "\u00a0%") in page


def test_a_large_store_is_looked_at_in_part_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(store_room, "LEAST_LEARNED", 100)
    store = upstairs.open_store(folder / "sales.tasks", memory=1)
    with pytest.warns(UpstairsWarning, match="Of the 336 rows in sales.tasks 98 were looked at, drawn at random from 7 of"):
        found = upstairs.evaluate(REGRESSORS["shrunk-mean"], store, cv=2, shots=(0, 2))
    assert len(found.task_names) == 7
    assert "7 of its 24 stores" in found.warnings[0]


MISTAKES = {
    "a store and y": ({"y": [1]}, "without y and groups"),
    "times of one's own": ({"order": [1, 2]}, "order must name a column of the store"),
    "no such column": ({"order": "date"}, "order='date' is no column of X; its columns are 'price', 'kind', 'day'"),
    "ties": ({"order": "price"}, "Column 'price' is missing in"),
    "not a time": ({"order": "kind"}, "must hold numbers or dates"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake, folder):
    given, sentence = MISTAKES[mistake]
    with pytest.raises(UpstairsError, match=sentence):
        upstairs.evaluate(REGRESSORS["shrunk-mean"], upstairs.open_store(folder / "sales.tasks"), **given)


def test_other_mistakes(folder):
    store = upstairs.open_store(folder / "busy.tasks")
    with pytest.raises(UpstairsError, match="holds classes, not numbers: take a classifier"):
        upstairs.evaluate(REGRESSORS["shrunk-mean"], store)
    with pytest.raises(UpstairsError, match="evaluate needs y, the target of each row; only a task store"):
        upstairs.evaluate(REGRESSORS["shrunk-mean"], np.zeros((4, 1)))
    with pytest.raises(UpstairsError, match=r"X is a TaskStore; make it a table, as store\.decode"):
        REGRESSORS["shrunk-mean"].fit(np.zeros((4, 1)), [1, 2, 3, 4]).explain(store)


def test_a_store_is_decoded_for_whatever_takes_tables(folder):
    rows = pd.read_parquet(folder / "rows.parquet")
    store = upstairs.open_store(folder / "busy.tasks")
    table = store.decode(store.tasks(store.locate(["store 03"])))
    assert table.column_names == ["store", *COLUMNS, "busy"]
    mine = rows[rows["store"] == "store 03"]
    assert table["busy"].to_pylist() == mine["busy"].tolist()
    assert table["day"].to_pylist() == mine["day"].dt.date.tolist()
    meta = CLASSIFIERS["hierarchical-ridge"].fit(rows[COLUMNS], rows["busy"], groups=rows["store"])
    shown = meta.adapt(table.select(COLUMNS), table["busy"]).explain(table.select(COLUMNS))
    expected = meta.adapt(mine[COLUMNS], mine["busy"]).explain(mine[COLUMNS])
    np.testing.assert_allclose(shown.to_table()["total"], expected.to_table()["total"], rtol=1e-5)


# On the command line.


@pytest.fixture(scope="module")
def model(folder):
    code, _, err = run("fit", folder / "sales.tasks", "-o", folder / "m.upstairs", "--learner=hierarchical-ridge")
    assert code == 0, err
    return folder / "m.upstairs"


def test_evaluate_a_store(folder):
    options = ("--folds=3", "--shots=0,2", "--learner=shrunk-mean", "--no-baselines", "--json")
    code, out, err = run("evaluate", folder / "sales.tasks", *options)
    assert code == 0, err
    given = ("--task=store", "--target=sales", "--ignore=busy")
    _, expected, _ = run("evaluate", folder / "rows.parquet", *given, *options)
    for name in ("target", "task", "n_tasks", "n_rows", "sentences", "warnings"):
        assert json.loads(out)[name] == json.loads(expected)[name]
    np.testing.assert_allclose(json.loads(out)["errors"]["shrunk-mean"], json.loads(expected)["errors"]["shrunk-mean"])


def test_report_of_a_store(folder, model, tmp_path):
    options = ("--folds=2", "--shots=0,2", "--no-baselines", "--order=day")
    pages = []
    for file in ("sales.tasks", "rows.parquet"):
        code, _, err = run("report", model, folder / file, "-o", tmp_path / "r.json", *options)
        assert code == 0, err
        pages.append(json.loads((tmp_path / "r.json").read_text()))
    assert pages[0]["summary"] == pages[1]["summary"]
    assert [one["lead"] for one in pages[0]["sections"][1:]] == [one["lead"] for one in pages[1]["sections"][1:]]


def test_explain_a_task_of_a_store(folder, model):
    code, out, err = run(
        "explain", model, folder / "sales.tasks", "--which=store 03", "--support", folder / "sales.tasks", "--json"
    )
    assert code == 0, err
    found, rows = json.loads(out), pd.read_parquet(folder / "rows.parquet")
    mine, meta = rows[rows["store"] == "store 03"], upstairs.load(model)
    receipt = meta.adapt(mine[COLUMNS], mine["sales"]).explain(mine[COLUMNS][:5])
    assert (found["task"], found["support_rows"]) == ("store 03", SIZE)
    np.testing.assert_allclose([row["total"] for row in found["receipts"][0]["rows"]], receipt.to_table()["total"], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("evaluate", "{}/sales.tasks", "--target=sales"), "--target is for files, but"),
        (("fit", "{}/sales.tasks", "--ignore=day", "-o", "m2"), "--ignore is for files, but"),
        (("evaluate", "{}/sales.tasks", "--order=dya"), "has no column 'dya'. Did you mean 'day'"),
        (("evaluate", "{}/sales.tasks", "--order=store"), "--order names 'store', which is the task"),
        (("explain", "{}/m.upstairs", "{}/sales.tasks"), "holds rows of 24 tasks ('store 00', 'store 01'"),
        (("explain", "{}/m.upstairs", "{}/sales.tasks", "--which=9"), "has no row whose 'store' is '9'"),
        (("report", "{}/m.upstairs", "{}/sales.tasks", "--task=store"), "--task is for files, but"),
        (("report", "{}/m.upstairs", "{}/busy.tasks"), "y must hold numbers, but row 0 holds"),
        (("predict", "{}/m.upstairs", "{}/sales.tasks", "-o", "p.csv"), "its rows are predicted into a folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments, sentence, folder, model):
    code, out, err = run(*(argument.format(folder) for argument in arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1), (out, err)
    assert sentence in err
