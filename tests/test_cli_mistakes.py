"""For each mistake of a user exit code 2 and one sentence on stderr, never a traceback, and no file left behind."""

import re

import pyarrow as pa
import pyarrow.csv
import pytest

import upstairs
from shop import fit_model, run, sales, write_rows
from upstairs.cli import main

EVALUATE = ("evaluate", "weeks.csv", "--task=store", "--target=sales")
FIT = ("fit", "rows.csv", "--task=store", "--target=sales", "-o", "m.upstairs", "--learner=shrunk-mean")

MISTAKES = {
    "missing file": (("fit", "rows.cs", *FIT[2:]), r"rows.cs ends in .cs, but tables are read and written as .csv or .parquet"),
    "misspelled file": (("fit", "rowz.csv", *FIT[2:]), r"rowz.csv doesn't exist \(is it rows.csv\?\)"),
    "unknown type": (("fit", "rows.xlsx", *FIT[2:]), r"rows.xlsx ends in .xlsx"),
    "empty file": (("fit", "empty.csv", *FIT[2:]), r"empty.csv is empty"),
    "no rows": (("fit", "header.csv", *FIT[2:]), r"header.csv has no rows"),
    "broken CSV": (
        ("fit", "broken.csv", *FIT[2:]),
        r"broken.csv has 2 cells in the line '1,2', but 4 in its first. Mend that line",
    ),
    "broken Parquet": (("fit", "broken.parquet", *FIT[2:]), r"broken.parquet is no valid parquet file"),
    "not UTF-8": (("fit", "latin.csv", *FIT[2:]), r"latin.csv isn't UTF-8 text"),
    "a folder": (("fit", "folder.csv", *FIT[2:]), r"folder.csv can't be read: is a directory"),
    "twice the same column": (("fit", "twice.csv", *FIT[2:]), r"more than one column 'a'"),
    "misspelled task": ((*FIT, "--task=Store"), r"no column 'Store'. Did you mean 'store'\?"),
    "unknown target": ((*FIT, "--target=zzz"), r"no column 'zzz'. Its columns are 'store', 'price', 'kind', 'sales'"),
    "rows without a task": (("fit", "untold.csv", *FIT[2:]), r"untold.csv has no value of 'store' in 1 of its 2 rows"),
    "unknown ignored column": ((*FIT, "--ignore=prices"), r"no column 'prices'. Did you mean 'price'\?"),
    "nothing left": ((*FIT, "--ignore=price", "--ignore=kind"), r"no columns left to predict 'sales' from"),
    "task is target": ((*FIT, "--task=sales"), r"'sales' is given as task and as target"),
    "unknown learner": ((*FIT, "--learner=trees"), r"no learner 'trees'; there are auto, forest, "),
    "no parameter": ((*FIT, "--learner=forest", "--set=n_fold=3"), r"forest has no parameter 'n_fold'. Did you mean n_folds\?"),
    "none at all": ((*FIT, "--set=depth=3"), r"shrunk-mean has no parameter 'depth'. It has none"),
    "no value": ((*FIT, "--learner=forest", "--set=n_folds"), r"--set takes NAME=VALUE, as \w+=\w+, but is 'n_folds'"),
    "wrong value": ((*FIT, "--learner=forest", "--set=n_folds=x"), r"--set: The 'n_folds' parameter of .* Got 'x' instead"),
    "another's option": ((*FIT, "--set=random_state=1"), r"--set random_state has an option of its own: give --seed 1"),
    "missing folder": (
        (*FIT, "-o", "nowhere/m.upstairs"),
        r"nowhere/m.upstairs can't be written: there is no such file or folder",
    ),
    "output is a folder": ((*FIT, "-o", "folder.csv"), r"folder.csv can't be written: it is a folder"),
    "output is the input": ((*FIT, "-o", "rows.csv"), r"rows.csv is the input, and would be overwritten"),
    "classes of fractions": ((*FIT, "--classify"), r"'sales' holds fractions, which are no classes"),
    "missing option": (("fit", "rows.csv", "--task=store"), r"Missing option '--output' / '-o'. See `upstairs fit --help`"),
    "missing column": (("fit", "rows.csv", "--task=store", "-o", "m.upstairs"), r"rows.csv needs --task and --target"),
    "unknown option": ((*FIT, "--trees=3"), r"No such option: --trees"),
    "unknown command": (("fti", "rows.csv"), r"No such command 'fti'"),
    "text for a number": ((*FIT, "--seed=x"), r"Invalid value for '--seed'"),
    "missing model": (("predict", "m.upstairs", "rows.csv", "-o", "o.csv"), r"m.upstairs can't be read: there is no such file"),
    "not a model": (("predict", "rows.csv", "rows.csv", "-o", "o.csv"), r"rows.csv is damaged, or was not saved by upstairs"),
    "info of no model": (("info", "rows.csv"), r"rows.csv is damaged, or was not saved by upstairs"),
    "unknown output": (("predict", "m.upstairs", "rows.csv", "-o", "o.txt"), r"o.txt ends in .txt"),
    "a folder's support": (
        ("predict", "m", "rows.csv", "--support=s.csv", "-o", "o"),
        r"s.csv is no task store.* upstairs pack",
    ),
    "pack of nothing": (("pack", "nowhere", "-o", "o.tasks", "--task=a"), r"nowhere doesn't exist"),
    "info of a folder": (("info", "folder.csv"), r"folder.csv is no task store"),
    "overwritten support": (("predict", "m", "rows.csv", "--support=s.csv", "-o", "s.csv"), r"s.csv is an input"),
    "wrong interval": (("predict", "m", "rows.csv", "--interval=90", "-o", "o.csv"), r"--interval must lie between 0 and 1"),
    "wrong shots": (
        ("evaluate", "rows.csv", "--task=store", "--target=sales", "--shots=1;2"),
        r"--shots must be whole numbers",
    ),
    "negative shots": (
        ("evaluate", "rows.csv", "--task=store", "--target=sales", "--shots=-1"),
        r"--shots must be whole numbers",
    ),
    "unknown order": ((*EVALUATE, "--order=prise"), r"no column 'prise'. Did you mean 'price'\?"),
    "order of text": ((*EVALUATE, "--order=kind"), r"Column 'kind' holds '\w+' in row 0, but must hold numbers or dates"),
    "order with ties": ((*EVALUATE, "--order=week"), r"Column 'week' holds 0 more than once in task '000'"),
    "target as order": ((*EVALUATE, "--order=sales"), r"--order names 'sales', which is the target"),
    "only the order": (
        (*EVALUATE, "--order=price", *(f"--ignore={name}" for name in ("price", "kind", "week"))),
        r"has no columns left to predict 'sales' from",
    ),
    "too many folds": ((*EVALUATE, "--folds=25"), r"--folds asks for 25 folds of 24 tasks"),
    "too many shots": ((*EVALUATE, "--shots=0,7"), r"shots=7 is more than any task can give: the largest, '000', has 12 rows"),
    "too few tasks": (("evaluate", "few.csv", "--task=a", "--target=b"), r"There are 2 tasks, too few to hold some out"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    weeks = pa.array([row % 4 for row in range(len(sales()))])
    pa.csv.write_csv(sales().append_column("week", weeks), tmp_path / "weeks.csv")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("store,sales\n")
    (tmp_path / "broken.csv").write_text("store,price,kind,sales\n1,2\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really PAR1")
    (tmp_path / "latin.csv").write_bytes("store,price,sales\nä,1,2\n".encode("latin-1"))
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    (tmp_path / "untold.csv").write_text("store,price,sales\n1,2,3\n,2,3\n")
    (tmp_path / "few.csv").write_text("a,b,c\n1,0.5,3\n1,2,3\n2,2.5,3\n")
    (tmp_path / "folder.csv").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name, folder):
    arguments, message = MISTAKES[name]
    before = sorted(folder.iterdir())
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert re.search(message, err)
    *notes, sentence = err.splitlines()
    assert sentence.startswith("upstairs: ")
    assert all(line.startswith("Note: ") for line in notes)
    assert sorted(folder.iterdir()) == before


def test_a_column_that_the_model_needs(tmp_path):
    model = fit_model(tmp_path)
    pa.csv.write_csv(sales(2).rename_columns(["store", "Price", "kind", "sales"]), tmp_path / "new.csv")
    code, _, err = run("predict", model, tmp_path / "new.csv", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "new.csv has no column 'price'. Did you mean 'Price'?" in err
    assert not (tmp_path / "o.csv").exists()


def test_support_of_many_tasks_for_rows_of_none(tmp_path):
    model = fit_model(tmp_path)
    rows_csv = write_rows(tmp_path)
    pa.csv.write_csv(sales(1).drop_columns(["store"]), tmp_path / "new.csv")
    code, _, err = run("predict", model, tmp_path / "new.csv", "--support", rows_csv, "-o", tmp_path / "o.csv")
    assert code == 2
    assert "rows of several tasks, but the rows to predict have no column 'store'" in err


def test_support_without_target(tmp_path):
    model = fit_model(tmp_path)
    rows_csv = write_rows(tmp_path)
    pa.csv.write_csv(sales(1).drop_columns(["sales"]), tmp_path / "support.csv")
    code, _, err = run("predict", model, rows_csv, "--support", tmp_path / "support.csv", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "support.csv has no column 'sales'" in err


def test_a_bug_keeps_its_traceback(monkeypatch, tmp_path):
    rows_csv = write_rows(tmp_path)
    monkeypatch.setattr(upstairs, "save", lambda *_, **__: 1 / 0, raising=False)
    with pytest.raises(ZeroDivisionError):
        main(["fit", str(rows_csv), "--task=store", "--target=sales", "--learner=shrunk-mean", "-o", str(tmp_path / "m")])
