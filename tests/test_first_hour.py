"""A new user's first hour: files as they are, from the command line alone, to answers that are right."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shop import run

N_STORES, SIZE = 30, 8
RNG = np.random.default_rng(0)
STORES = [f"{100 + t}" for t in range(N_STORES)]
ROWS = [
    {
        "store": store,
        "day": np.datetime64("2024-01-01") + int(day),
        "price": price,
        "weight": weight,
        "kind": kind,
        "sales": 0.0,
    }
    for store in STORES
    for day, price, weight, kind in zip(
        RNG.integers(0, 700, SIZE),
        RNG.uniform(1000, 9000, SIZE).round(2),
        RNG.uniform(1, 9, SIZE).round(1),
        RNG.choice(["corner", "mall"], SIZE),
        strict=True,
    )
]
LEVEL = dict(zip(STORES, RNG.normal(5000, 1000, N_STORES), strict=True))
for row in ROWS:
    row["sales"] = round(LEVEL[row["store"]] - 0.5 * row["price"] + RNG.normal(0, 50), 2)

COLUMNS = list(ROWS[0])
FIT = ("--task=store", "--target=sales", "--learner=hierarchical-ridge")


def written(rows, delimiter=",", number="{:.2f}".format, date=str, unit="", blank=""):
    """A CSV file's text, as some program would write it."""
    file = io.StringIO()
    out = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    out.writerow(COLUMNS)
    for row in rows:
        weight = number(row["weight"]) + unit if row["weight"] is not None else blank
        out.writerow([row["store"], date(row["day"]), number(row["price"]), weight, row["kind"], number(row["sales"])])
    return file.getvalue()


def german(value):
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def day_first(day):
    return ".".join(reversed(str(day).split("-")))


def month_first(day):
    year, month, of_month = str(day).split("-")
    return f"{int(month)}/{int(of_month)}/{year}"


def with_header_again(text):
    lines = text.splitlines()
    return "\n".join([*lines[:100], "", lines[0], *lines[100:], ",,,,,".replace(",", lines[0][5]), ""])


CLEAN = written(ROWS)
DIRTY = {
    "german": written(ROWS, ";", german, day_first, " kg"),
    "american": written(ROWS, ",", "{:,.2f}".format, month_first, " kg"),
    "tabs": written(ROWS, "\t"),
    "header again": with_header_again(CLEAN),
    "german, header again": with_header_again(written(ROWS, ";", german, day_first)),
    "blanks": CLEAN.replace("100,", "100 ,").replace("mall", " mall ").replace("day,", " day ,"),
    "dollars": CLEAN.replace("\n", "\n", 1).replace(",corner", ",corner ").replace("store,", "store ,"),
    "twice": "\n".join(f"{line},{line.split(',')[2]}" for line in CLEAN.splitlines()),
    "mark": "\ufeff" + CLEAN,
}


def errors_of(path, *more):
    code, out, err = run("evaluate", path, *FIT, "--no-baselines", "--shots=0,2", "--folds=2", "--json", *more)
    assert code == 0, err
    found = json.loads(out)
    return found["errors"]["hierarchical-ridge"], err


@pytest.fixture(scope="module")
def clean_errors(tmp_path_factory):
    path = tmp_path_factory.mktemp("clean") / "rows.csv"
    path.write_text(CLEAN)
    errors, err = errors_of(path)
    assert err == ""
    assert errors[1] < 0.5 * errors[0] < 800
    return errors


@pytest.mark.parametrize("name", DIRTY)
def test_dirt_makes_no_difference(name, clean_errors, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(DIRTY[name], encoding="utf-8")
    errors, err = errors_of(path)
    assert errors == pytest.approx(clean_errors, rel=1e-9)
    assert name in ("tabs", "mark") or err.startswith("Note: ")


def test_another_encoding_is_asked_for(clean_errors, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(CLEAN.replace("mall", "Händler").encode("cp1252"))
    code, _, err = run("evaluate", path, *FIT)
    assert code == 2 and "--encoding cp1252" in err and "Händler" in err
    assert errors_of(path, "--encoding=cp1252")[0] == pytest.approx(clean_errors, rel=1e-9)


def test_what_is_open_is_asked_for(clean_errors, tmp_path):
    thousands = [row | {"price": 1000.0 * (i % 9 + 1), "weight": 2.0, "sales": i + 1000.0} for i, row in enumerate(ROWS)]
    path = tmp_path / "rows.csv"
    path.write_text(written(thousands, ";", "{:,.0f}".format))
    code, _, err = run("evaluate", path, *FIT)
    assert code == 2 and "holds '1,000' in 'price', which may be a thousand or a fraction" in err
    assert run("evaluate", path, *FIT, "--decimal=x")[0] == 2
    (errors, _), (fractions, _) = errors_of(path, "--decimal=."), errors_of(path, "--decimal=,")
    assert errors[0] == pytest.approx(1000 * fractions[0], rel=1e-6)


def test_rows_without_task_or_target(tmp_path):
    rows = [row | ({"store": ""} if i in (3, 40) else {}) for i, row in enumerate(ROWS)]
    path = tmp_path / "rows.csv"
    path.write_text(written(rows))
    asked = ("fit", path, *FIT, "-o", tmp_path / "m.upstairs")
    code, _, err = run(*asked)
    assert code == 2 and "no value of 'store' in 2 of its 240 rows" in err and "--drop-missing-task" in err
    code, out, _ = run(*asked, "--drop-missing-task")
    assert code == 0 and "238 rows, 2 incomplete ones left out" in out
    code, out, err = run("predict", tmp_path / "m.upstairs", path, "-o", tmp_path / "p.csv")
    assert code == 0 and "2 by their columns alone" in out and "they are predicted as if unseen" in err
    code, out, err = run("predict", tmp_path / "m.upstairs", path, "--support", path, "-o", tmp_path / "p.csv")
    assert code == 0 and "238 from the support rows" in out and "no value of 'store' in 2 rows, left out" in err
    code, out, err = run("explain", tmp_path / "m.upstairs", path, "--which=104", "--json")
    assert code == 0 and json.loads(out)["task"] == "104"


def test_words_among_numbers_are_told_and_can_be_told_away(tmp_path):
    rows = [row | ({"weight": None} if i % 50 == 7 else {}) for i, row in enumerate(ROWS)]
    path = tmp_path / "rows.csv"
    path.write_text(written(rows, blank="not weighed"))
    assert "'weight' stays text: beside numbers it holds 'not weighed' in row 7 (5 such rows in all)" in errors_of(path)[1]
    assert errors_of(path, "--missing=not weighed")[1] == ""


def test_a_column_that_counts_the_rows_is_told(tmp_path):
    path = tmp_path / "rows.csv"
    header, *lines = CLEAN.splitlines()
    path.write_text("\n".join([f"number,{header},visit", *(f"{i},{line},{i % 40}" for i, line in enumerate(lines, 1))]))
    err = errors_of(path)[1]
    assert "'number' counts the rows" in err and "--ignore number" in err and "visit" not in err
    assert errors_of(path, "--ignore=number")[1] == ""


def test_the_same_model_reads_files_of_another_country(tmp_path):
    """Fitted on a clean file, asked with a German one: the same answers."""
    for name, text in (
        ("rows", CLEAN),
        ("german", written(ROWS[:40], ";", german, day_first, " kg")),
        ("plain", written(ROWS[:40])),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
    run("fit", tmp_path / "rows.csv", *FIT, "-o", tmp_path / "m.upstairs")
    answers = []
    for name in ("german", "plain"):
        code, _, err = run("predict", tmp_path / "m.upstairs", tmp_path / f"{name}.csv", "-o", tmp_path / "out.parquet")
        assert code == 0, err
        import pyarrow.parquet

        answers.append(pyarrow.parquet.read_table(tmp_path / "out.parquet")["prediction"].to_numpy())
    assert (answers[0] == answers[1]).all()


def test_the_page_names_options_that_exist():
    page = (Path(__file__).parents[1] / "docs" / "first-hour.md").read_text()
    helps = "".join(run(command, "--help")[1] for command in ("fit", "evaluate", "report", "predict"))
    assert all(option in helps for option in re.findall(r"`(--[a-z-]+)", page))


def shown(*calls, **environment):
    """What these calls print into a pipe."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    program = "from upstairs.cli import main\n" + "".join(
        f"try: main({call!r})\nexcept SystemExit: pass\n" for call in map(str.split, calls)
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=inherited | environment, check=True
    )
    return done.stdout + done.stderr


def test_no_colours_in_a_pipe_nor_where_they_are_not_wanted():
    assert "\x1b" not in shown("fit --help", "info nowhere.upstairs", "fti")
    assert "\x1b[1;31m" in shown("fti", FORCE_COLOR="1")
    assert "31m" not in shown("fti", FORCE_COLOR="1", NO_COLOR="1")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("upstairs fi", {"fit"}),
        ("upstairs fit rows.csv --task s", {"store", "sales"}),
        ("upstairs evaluate rows.csv --learner s", {"shrunk-mean", "svm"}),
        ("upstairs fit rows.csv --tas", {"--task"}),
        ("upstairs fit nowhere.csv --task s", set()),
    ],
)
def test_the_shell_completes(line, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(CLEAN)
    monkeypatch.setenv("_UPSTAIRS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    assert set(run()[1].split()) == expected
