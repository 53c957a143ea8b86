"""The page of upstairs serve in a real browser: models, pasted rows, predictions drawn, a token asked for."""

import re

import pytest

import upstairs
from browser import Browser, find_chromium
from served import TOKENS, inside
from upstairs.frames import Lists

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium: apt-get install chromium")

SUPPORT = "price\tkind\tsales\n2.5\tmall\t31.0\n1.9\tmall\t37.5"
QUERY = 'price,kind\n2.1,"mall"\n1.5,corner\n,mall'


@pytest.fixture(scope="module")
def web(models, tmp_path_factory):
    with inside(models, database=f"sqlite:///{tmp_path_factory.mktemp('database')}/tasks.db", tokens=True) as client:
        client.models = models
        yield client


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(web, browser):
    browser.requests.clear()
    browser.open(str(web.base_url))
    browser.wait("!document.querySelector('#token-form').hidden")
    browser.faults.clear()  # of the answer 401, which is how the page learns that it needs a token
    fill(browser, "token", TOKENS["read"])
    click(browser, "#token-form button")
    browser.wait("document.querySelectorAll('#models button').length === 2")
    yield browser
    assert browser.requests
    assert all(request.startswith(str(web.base_url)) for request in browser.requests), "the page works offline"


def fill(browser, name, text):
    browser.run(f"document.querySelector('#{name}').value = {text!r}")


def click(browser, selector):
    browser.run(f"document.querySelector({selector!r}).click()")


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)")


def predict(browser):
    click(browser, "button.main")
    browser.wait("!document.querySelector('button.main').disabled")


def test_pasted_rows_are_predicted_and_drawn(page, web):
    assert texts(page, "#models button") == ["sizes", "stores"]
    click(page, "#models button:last-child")
    fill(page, "support", SUPPORT)
    fill(page, "query", QUERY)
    predict(page)
    assert texts(page, "#answer h2") == ["sales, adapted to the 2 rows above"]
    cells = texts(page, "#answer td")
    expected = upstairs.load(web.models / "stores.upstairs").adapt(
        Lists({"price": [2.5, 1.9], "kind": ["mall"] * 2}), [31.0, 37.5]
    )
    told = expected.predict_all(Lists({"price": [2.1, 1.5, None], "kind": ["mall", "corner", "mall"]}))
    for i in range(3):
        row = [float(cell) for cell in cells[6 * i + 3 : 6 * i + 6]]
        assert row == pytest.approx([told[name][i] for name in ("prediction", "lower", "upper")], rel=1e-3)
    ends = page.run(
        "[...document.querySelectorAll('line.interval')].map((one) => [+one.getAttribute('x1'), +one.getAttribute('x2')])"
    )
    points = page.run("[...document.querySelectorAll('circle.point')].map((one) => +one.getAttribute('cx'))")
    assert all(left < point < right for (left, right), point in zip(ends, points, strict=True))
    widths = [
        (right - left) / (upper - lower) for (left, right), lower, upper in zip(ends, told["lower"], told["upper"], strict=True)
    ]
    assert widths == pytest.approx([widths[0]] * 3), "all on one scale"
    assert page.faults == []


def test_classes_are_drawn_as_shares(page):
    fill(page, "query", '[{"price": 2, "kind": "mall"}]')
    predict(page)
    assert texts(page, "#answer h2") == ["size, from the columns alone: no row of this task was given"]
    bars = page.run("[...document.querySelectorAll('rect[y=\"9\"]')].map((one) => +one.getAttribute('width'))")
    assert len(bars) == 3
    assert sum(bars) == pytest.approx(860 - 56 - 84 - 3)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("prise,kind\n2,mall", r"lacks columns .* 'price' \(did you mean 'prise'\?\)"),
        ("price,kind\n2,mall\n3", "Line 3 has 1 values, but the first line has 2 names"),
        ("price,kind\n<img src=x onerror=alert(1)>,mall", "<img"),
        ("[{", "JSON"),
    ],
)
def test_mistakes_are_told_in_a_sentence(page, query, words):
    fill(page, "query", query)
    predict(page)
    assert re.search(words, texts(page, "#problem")[0])
    assert page.run("document.querySelector('#answer').hidden")


def test_dark_where_the_system_is_dark(web, browser):
    colours = []
    for dark in (False, True):
        browser.prefer(dark)
        browser.open(str(web.base_url))
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(251, 250, 247)", "rgb(21, 24, 28)"]
