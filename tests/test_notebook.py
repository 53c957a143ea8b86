"""What a notebook shows of estimators, adapted models, evaluations and receipts; nothing a user named gets out of its place."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context

import upstairs
from every_learner import CLASSIFIERS, REGRESSORS
from upstairs.cards import Card

EVIL = "<script>alert('x')</script>"
VOID = {"br", "img", "input", "link", "meta", "circle", "path", "rect"}


class Balanced(HTMLParser):
    """Tags that are open; what isn't closed in its order is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def table(seed=0, n_tasks=12, size=8, noise=0.3):
    rng = np.random.default_rng(seed)
    task = np.repeat([f"{EVIL}{t}" for t in range(n_tasks)], size)
    X = pd.DataFrame({EVIL: rng.normal(size=len(task)), "kind": rng.choice(["a", EVIL], len(task))})
    y = rng.normal(size=n_tasks).repeat(size) * 3 + X[EVIL] + rng.normal(0, noise, len(task))
    return X, y.rename(EVIL), pd.Series(task, name=EVIL)


def page_of(thing):
    """The HTML, as a notebook gets it, checked: no script, all tags closed."""
    bundle = getattr(thing, "_repr_mimebundle_", lambda: {"text/html": thing._repr_html_(), "text/plain": repr(thing)})()
    page, text = bundle["text/html"], bundle["text/plain"]
    ours = page[page.index("<style>.upstairs-card".replace(">.", ">\n.")) :]
    assert "script" not in Balanced(ours).seen and EVIL not in page
    assert re.search(r"color: (?!inherit)", ours[: ours.index("</style>")]) is None  # the page's own, light or dark
    return page, text


@pytest.mark.parametrize("name", ["auto", "forest", "shrunk-mean", "hierarchical-ridge"])
def test_a_fitted_meta_learner(name):
    X, y, task = table()
    meta = REGRESSORS[name].__class__(**REGRESSORS[name].get_params(deep=False))
    assert "upstairs-card" not in meta._repr_html_() and "fitted" not in meta._repr_mimebundle_()["text/plain"]
    page, text = page_of(meta.fit(X, y, groups=task))
    assert type(meta).__name__ in page and "sk-" in page  # scikit-learn's diagram is there too
    assert re.search(r"knows\s+12 tasks", text)
    assert "kind (text)" in text and "kind (text)" in page
    assert "90 % intervals scaled by" in text
    held_out = re.search(r"root mean squared error, held out +(.*)", text).group(1).split()
    assert 0 < float(held_out[0]) < 10 and held_out[-1] == "–"  # of 8 rows none are left after 20


@pytest.mark.parametrize("name", ["shrunk-mean", "forest"])
def test_a_classifier(name):
    X, y, task = table()
    labels = np.where(y > 0, "yes", "<b>no")
    meta = CLASSIFIERS[name].fit(X, labels, groups=task)
    page, text = page_of(meta)
    assert "classes" in text and "&lt;b&gt;no, yes" in page
    assert "log loss, held out" in text and "logits divided by" in text


def test_errors_held_out_are_those_of_models_that_never_saw_the_task():
    """Without a row the shrunk mean says the mean of the other tasks: the levels' own scatter is what is left."""
    X, y, task = table(n_tasks=40, size=12)
    meta = REGRESSORS["shrunk-mean"].fit(X, y, groups=task)
    told = re.search(r"held out +(.*)", meta._card().text()).group(1).split()
    assert float(told[0]) == pytest.approx(np.std(y), rel=0.1)
    assert float(told[3]) < 0.6 * float(told[0])


def test_adapted_models():
    X, y, task = table(noise=3)
    meta = REGRESSORS["hierarchical-ridge"].fit(X, y, groups=task)
    page, text = page_of(meta.adapt(X[:3], y[:3]))
    assert "adapted to  3 rows of one task" in text and "3 rows of one task" in page
    now, later = map(int, re.search(r"borrowed +(\d+) % from other tasks; after 5 more rows about (\d+) %", text).groups())
    assert 0 < later < now < 100
    assert "like the known tasks" in text
    page, text = page_of(meta.adapt_tasks(X, y, groups=task))
    assert "12 tasks, 96 rows" in text and re.search(r"rows of a task +8$", text, re.MULTILINE)


def test_an_odd_task():
    X, y, task = table(n_tasks=40)
    meta = REGRESSORS["hierarchical-ridge"].fit(X, y, groups=task)
    _, text = page_of(meta.adapt(X[:3], y[:3] + 1e3))
    assert re.search(r"p = 0\.0\d+: its rows are more surprising", text)


def test_a_model_that_keeps_no_task(tmp_path):
    X, y, task = table()
    upstairs.save(REGRESSORS["shrunk-mean"].fit(X, y, groups=task), tmp_path / "m", known_tasks=False)
    meta = upstairs.load(tmp_path / "m")
    _, text = page_of(meta)
    assert "no task by name" in text and "held out" not in text
    assert "novelty" not in page_of(meta.adapt(X[:2], y[:2]))[1]


def test_evaluations_and_receipts():
    X, y, task = table()
    found = upstairs.evaluate(REGRESSORS["shrunk-mean"], X, y, groups=task, shots=(0, 2), cv=2, baselines=False)
    page, text = page_of(found)
    assert page.count("<tr>") == 2 and found.sentences()[0] in text
    page, text = page_of(REGRESSORS["hierarchical-ridge"].fit(X, y, groups=task).adapt(X[:3], y[:3]).explain(X[3:5]))
    assert "Receipt of 2 predictions after 3 rows" in text


def test_where_no_diagram_is_wanted():
    X, y, task = table()
    with config_context(display="text"):
        assert set(REGRESSORS["shrunk-mean"].fit(X, y, groups=task)._repr_mimebundle_()) == {"text/plain"}


def test_cards():
    card = Card("A & B", {"rows": "3", "a longer name": "<4>"}, [["x", "1", "20"], ["yy", "3.5", "–"]], ["Said."], ["Odd."])
    assert card.text() == "A & B\n\nrows           3\na longer name  <4>\n\nx     1  20\nyy  3.5   –\n\nSaid.\nWarning: Odd."
    assert {"dl", "table", "ul", "strong"} <= set(Balanced(card.html()).seen)
    assert "A &amp; B" in card.html() and "<4>" not in card.html()
    assert Card("alone").text() == "alone" and set(Balanced(Card("alone").html()).seen) == {"style", "div", "p", "strong"}
