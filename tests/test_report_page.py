"""The report's page in a browser: what it holds, that nothing is loaded, that tables sort, and what axe-core says of it."""

from pathlib import Path

import pytest

from browser import Browser, needs_chromium
from reported import case
from test_report import QUESTIONS

SORT = """
(() => {
  const table = document.querySelector("#unseen table"), heading = table.tHead.rows[0].cells[%d];
  heading.querySelector("button").click();
  return [heading.getAttribute("aria-sort"), [...table.tBodies[0].rows].map((row) => row.cells[%d].dataset.value)];
})()
"""


WIDTHS = "[...document.querySelectorAll('svg[role=img]')].map((one) => one.getBoundingClientRect().width).filter((one) => one)"
TEXTS = """
[...document.querySelectorAll("svg text")].map((one) => one.getBoundingClientRect()).filter((one) => one.width > one.height)
  .map((one) => one.height)
"""
"""Heights of the words in pictures that are shown, in pixels; a line is some 1.2 times as high as its font is large."""


@pytest.fixture(scope="module")
def axe():
    return (Path(pytest.importorskip("axe_core_python").__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(case().page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(address):
    needs_chromium()
    with Browser() as browser:
        browser.open(address)
        yield browser


def test_it_is_whole_and_asks_for_nothing(browser, address):
    shown = browser.run("[...document.querySelectorAll('main > section')].map((one) => one.id)")
    assert set(shown) == {*QUESTIONS, "warnings"}
    assert min(browser.run(WIDTHS)) > 300
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert [url for url in browser.requests if not url.startswith("data:")] == [address]
    assert browser.faults == []


def test_a_heading_sorts_its_table(browser):
    """By number up and down, by text; the rows stay whole."""
    whole = "[...document.querySelectorAll('#unseen tbody tr')].map((row) => row.innerText).sort()"
    before = browser.run(whole)
    order, errors = browser.run(SORT % (1, 1))
    assert order == "ascending"
    assert list(map(float, errors)) == sorted(map(float, errors))
    order, errors = browser.run(SORT % (1, 1))
    assert order == "descending"
    assert list(map(float, errors)) == sorted(map(float, errors), reverse=True)
    order, names = browser.run(SORT % (0, 0))
    assert (order, names) == ("ascending", ["hierarchical-ridge", "shrunk-mean", "task-ridge"])
    assert browser.run("document.querySelectorAll('#unseen th[aria-sort=none]').length") == 3
    assert browser.run(whole) == before


def test_it_fits_a_telephone(browser):
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=1, mobile=True)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert len(browser.run(WIDTHS)) == browser.run("document.querySelectorAll('figure').length")
    assert min(browser.run(TEXTS)) > 11
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_on_paper_all_is_open(browser, tmp_path):
    assert not browser.run("document.querySelector('details').open")
    browser.print(tmp_path / "report.pdf")
    assert browser.run("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, axe, scheme):
    browser.prefer(dark=scheme == "dark")
    browser.run(f"(() => {{ {axe}\n }})()")
    found = browser.run("axe.run().then((found) => [found.violations, found.passes.length])")
    told = [f"{one['impact']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found[0]]
    assert not told
    assert found[1] > 15
