"""The report: findings without HTML, the page as a file, and the command."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import upstairs
from reported import HOSTILE, N_STORES, SIZE, case, rows
from upstairs.cli import main
from upstairs.learners import learner_class
from upstairs.report.cases import choose_tasks
from upstairs.report.findings import find
from upstairs.report.insight import columns_by_importance
from upstairs.report.quality import calibration
from upstairs.report.render import render
from upstairs.report.subject import Subject

VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use", "rect", "line", "image", "clippath"}
QUESTIONS = ["learned", "unseen", "rows", "calibration", "drivers", "overfitting", "harm", "odd", "tasks"]


@pytest.fixture(scope="module")
def found():
    one = case()
    return find(one.evaluation, one.model, one.X)


def by_name(findings):
    return {section["name"]: section for section in findings["sections"]}


def test_findings_are_json_that_makes_the_same_page(found):
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert render(again) == case().page


def test_every_question_is_answered_in_the_users_words(found):
    sections = by_name(found)
    assert set(sections) == {*QUESTIONS, "warnings"}
    assert all(section["lead"] for section in sections.values())
    said = " ".join([found["title"], *found["summary"], *(s["title"] + s["lead"] for s in sections.values())])
    assert {"store", "stores", "sales"} <= set(re.findall(r"\w+", said))
    assert not re.search(r"\b(tasks?|target|groups|y)\b", said.replace("task-ridge", ""))


def test_the_numbers_are_those_of_the_evaluation(found):
    evaluation, section = case().evaluation, by_name(found)["unseen"]
    table = section["tables"][0]
    shown = {row[0]["value"]: [cell["value"] for cell in row[1:]] for row in table["rows"]}
    assert shown == evaluation.errors()
    assert [column["name"] for column in table["columns"][1:]] == ["0", "2", "5"]
    assert found["evaluation"]["summary"]["error"] == evaluation.to_dict()["summary"]["error"]
    assert evaluation.sentences_by_topic()["baselines"] in section["sentences"]
    needed = by_name(found)["rows"]["tables"][0]["rows"]
    assert [row[2]["value"] for row in needed] == evaluation.to_dict()["value_curve"]["share"][:3]


def test_importance_is_the_mean_size_of_shared_contributions():
    one = case()
    importances = columns_by_importance(one.model, one.X)
    assert importances[0].column == "price"
    np.testing.assert_allclose(sum(importance.share for importance in importances), 1)
    shared = one.model.explain(one.X).shared
    names = [feature.column for feature in one.model.columns_.features]
    for importance in importances:
        part = shared[:, [name == importance.column for name in names]].sum(axis=1)
        size = np.abs(part - part.mean()).mean() * one.model.state_.scale.sd
        np.testing.assert_allclose(importance.move, size, rtol=1e-6)


@pytest.mark.parametrize(
    ("classify", "observed", "verdict"),
    [
        (False, [0.3, 0.5, 0.6, 0.7], "too narrow"),
        (False, [0.8, 0.95, 1.0, 1.0], "too wide"),
        (False, [0.5, 0.8, 0.9, 0.95], "taken at their word"),
        (True, [0.5] * 10, "too bold"),
        (True, [0.0] * 5 + [1.0] * 5, "too timid"),
        (True, [0.05 + 0.1 * b for b in range(10)], "taken at their word"),
    ],
)
def test_promises_are_judged(classify, observed, verdict):
    subject = Subject.of(case(classify).evaluation, "hierarchical-ridge", None)
    n = len(observed)
    told = {"learner": ["hierarchical-ridge"] * n, "shots": [5] * n, "observed": observed, "observed_se": [0.01] * n}
    told |= {"nominal": [0.5, 0.8, 0.9, 0.95]} if not classify else {}
    told |= {"predicted": [0.05 + 0.1 * b for b in range(10)], "n_rows": [100] * n} if classify else {}
    assert verdict in calibration(subject._replace(found={**subject.found, "calibration": told}))["lead"]


def test_tasks_in_the_middle_and_the_worst():
    subject = Subject.of(case().evaluation, "hierarchical-ridge", None)
    typical, worst = choose_tasks(subject, 2)
    rows = subject.columns("tasks", 2)
    ranked = [task for _, task in sorted(zip(-rows["error"], rows["task"], strict=True))]
    assert worst == ranked[:3]
    assert sorted(typical) == sorted(ranked[7:10])


def test_an_unseen_task_is_drawn_by_a_model_that_never_saw_it():
    evaluation = case().evaluation
    for task in evaluation.task_names:
        assert task not in evaluation.unseen_model(task).known_.ids
        X_support, y_support, X_query, y_query = evaluation.episode(task, 5)
        assert (X_support.num_rows, len(y_support), X_query.num_rows, len(y_query)) == (5, 5, SIZE // 2, SIZE // 2)
        seen, asked = (set(table["price"].to_pylist()) for table in (X_support, X_query))
        assert not seen & asked
    with pytest.raises(upstairs.UpstairsError, match="There is no task 'nowhere' among the 18"):
        evaluation.unseen_model("nowhere")


def test_models_that_were_not_kept_are_fitted_again():
    one, table = case(), pa.table(rows())
    meta = learner_class("hierarchical-ridge", False)(random_state=0)
    again = upstairs.evaluate(
        meta, one.X, table.select(["sales"]), table.select(["store_id"]), cv=2, shots=(0, 2, 5), baselines=False
    )
    episode = again.episode("store 3", 2)
    old, new = (evaluation.unseen_model("store 3") for evaluation in (one.evaluation, again))
    np.testing.assert_array_equal(old.predict(episode.X_query), new.predict(episode.X_query))
    assert again.unseen_model("store 3") is new
    assert not hasattr(meta, "state_")


class Page(HTMLParser):
    """What a page is made of; it must be well-formed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.figures, self.scripts = [], [], [], 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "svg":
            self.figures.append(dict(attributes))
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])
def test_the_page_stands_alone(classify):
    text = case(classify).page
    page = Page(text)
    outside = re.sub(r'xmlns(:\w+)?="[^"]+"', "", text)
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", outside)
    assert len(text.encode()) < 3e6
    assert len(page.figures) >= 9
    assert all(figure["role"] == "img" and len(figure["aria-label"]) > 40 for figure in page.figures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"][1:] for tag, attributes in page.tags if tag == "a"]
    assert set(links) <= set(ids) and set(QUESTIONS) <= set(links)


@pytest.mark.parametrize("classify", [False, True], ids=["numbers", "classes"])
def test_hostile_names_are_text(classify):
    text = case(classify).page
    page = Page(text)
    assert page.scripts == 1
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert any(HOSTILE[:20] in figure["aria-label"] for figure in page.figures)


def test_what_can_not_be_told_is_said():
    """A learner without columns, asked at one number of rows, without baselines; tasks are numbers without a name."""
    table, X, task = pa.table(rows()), case().X, np.arange(N_STORES).repeat(SIZE)
    meta = learner_class("shrunk-mean", False)(random_state=0)
    result = upstairs.evaluate(meta, X, table["sales"], task, shots=0, cv=2, baselines=False)
    sections = by_name(find(result, meta.fit(X, table["sales"], groups=task), X, target="sales"))
    assert "harm" not in sections
    assert sections["drivers"]["lead"].startswith("No column does")
    assert "this can't be told" in sections["rows"]["lead"]
    assert sections["tasks"]["figures"]


def test_more_tasks_are_told_of_if_it_was_looked_at():
    table, X = pa.table(rows()), case().X
    meta = learner_class("hierarchical-ridge", False)(random_state=0)
    result = upstairs.evaluate(meta, X, table["sales"], table["store_id"], shots=(0, 3), cv=2, baselines=False)
    result.task_curve()
    section = by_name(find(result, result.unseen_model("store 1"), X))["overfitting"]
    assert any("twice as many" in sentence.lower() for sentence in section["sentences"])
    assert section["figures"][0]["display"] == "TaskCurveDisplay"


def test_warnings_come_first():
    table = pa.table(rows())
    X = case().X.append_column("code", table["store_id"])
    meta = learner_class("shrunk-mean", False)(random_state=0)
    with pytest.warns(upstairs.UpstairsWarning, match="names the task"):
        result = upstairs.evaluate(meta, X, table["sales"], table["store_id"], cv=2, baselines=False)
    findings = find(result, meta.fit(X, table["sales"], groups=table["store_id"]), X)
    assert findings["sections"][0]["name"] == "warnings"
    assert "'code'" in findings["sections"][0]["lead"]
    for section in findings["sections"]:
        section["figures"] = []  # drawing takes long
    assert 'href="#warnings"' in render(findings)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return stop.value.code


@pytest.fixture
def files(tmp_path):
    """A model of 12 of the stores, and files of all rows, of the other stores, and without targets."""
    table = pa.table(rows())
    new = pa.array([int(name.removeprefix("store ")) > 11 if name != HOSTILE else False for name in rows()["store_id"]])
    old = table.filter(pa.compute.invert(new))
    pa.parquet.write_table(table, tmp_path / "all.parquet")
    pa.parquet.write_table(table.filter(new), tmp_path / "new.parquet")
    meta = learner_class("hierarchical-ridge", False)(random_state=0)
    meta.fit(old.drop_columns(["store_id", "sales"]), old["sales"], groups=old["store_id"])
    upstairs.save(meta, tmp_path / "m.upstairs", task_name="store_id", target_name="sales")
    return tmp_path


def test_the_command_writes_a_page_and_says_what_is_in_it(files, capsys):
    asked = ("report", files / "m.upstairs", files / "all.parquet", "-o", files / "r.html", "--order", "day", "--folds", 2)
    assert run(*asked, "--no-baselines", "--shots", "0,3") == 0
    shown = capsys.readouterr().out
    text = (files / "r.html").read_text(encoding="utf-8")
    assert shown.count("\n") > 4 and "r.html" in shown
    assert f"which knows 12 of the {N_STORES} stores in all.parquet" in text
    assert "those right before in time" in text
    assert sorted(path.name for path in files.iterdir()) == ["all.parquet", "m.upstairs", "new.parquet", "r.html"]


def test_a_model_that_knows_none_of_the_tasks_meets_them_as_it_is(files, capsys):
    assert run("report", files / "m.upstairs", files / "new.parquet", "-o", files / "r.json", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    findings = json.loads((files / "r.json").read_text(encoding="utf-8"))
    assert printed == {"output": str(files / "r.json"), **findings}
    assert findings["evaluation"]["n_folds"] == 1
    assert "errors are those of this very model" in " ".join(by_name(findings)["learned"]["sentences"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["all.parquet", "-o", "r.pdf"], "must end in .html for the page"),
        (["all.parquet", "--order", "sales"], "which is the target; it must hold times"),
        (["all.parquet", "--target", "sale"], "has no column 'sale'. Did you mean 'sales'?"),
        (["all.parquet", "--folds", "40"], "give at most --folds 18"),
        (["new.parquet", "--folds", "3"], "--folds is for tasks that MODEL knows"),
        (["new.parquet", "--more-tasks"], "--more-tasks is for tasks that MODEL knows"),
        (["all.parquet", "--shots", "many"], "--shots must be whole numbers"),
        (["gone.parquet"], "doesn't exist"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(arguments, complaint, files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert run("report", "m.upstairs", *arguments) == 2
    assert complaint in capsys.readouterr().err.replace("\n", " ")
    assert sorted(files.iterdir()) == before
