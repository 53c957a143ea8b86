"""Progress bars in a notebook: pictures that replace each other, with and without ipywidgets."""

import sys
import types

import pytest
from rich.progress import BarColumn, Progress, TextColumn

from upstairs import bars
from upstairs.gradient.progress import show_progress as show_descent
from upstairs.packing import progress as packing


@pytest.fixture
def shown(monkeypatch):
    """What a notebook without ipywidgets would have shown: a list of pictures."""
    pictures = []

    class Handle:
        def update(self, picture, raw):
            pictures.append(picture)

    def display(picture, raw, display_id):
        pictures.append(picture)
        return Handle()

    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr(bars.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(bars, "SECONDS", 0.0)
    return pictures


def test_on_a_terminal_it_is_richs_own():
    assert type(bars.make_bar(BarColumn())) is Progress
    assert not bars.in_notebook()


def test_in_a_notebook_without_widgets(shown, capsys):
    assert bars.in_notebook()
    with bars.make_bar(TextColumn("{task.description} {task.completed}"), BarColumn()) as bar:
        task = bar.add_task("<b>work", total=3)
        bar.advance(task)
        bar.update(task, completed=2)
    texts = [picture["text/plain"] for picture in shown]
    assert [text.split()[1] for text in texts if text.strip()] == ["0", "1", "2"]
    assert texts[-1] == "" and "\x1b" not in "".join(texts)
    assert "<pre>&lt;b&gt;work 1" in shown[2]["text/html"]
    assert capsys.readouterr() == ("", "")


def test_with_widgets_rich_draws(shown, monkeypatch):
    monkeypatch.setattr(bars.importlib.util, "find_spec", lambda name: object())
    assert type(bars.make_bar(BarColumn())) is Progress


def test_those_of_fits_and_packing(shown, monkeypatch):
    with show_descent(True, "y", 10) as watch:
        watch(5, 0.5, 0.25)
    assert any("step 5 · loss 0.500 · held-out 0.250" in picture["text/plain"] for picture in shown)
    shown.clear()
    monkeypatch.setattr(packing, "PATIENCE", -1.0)
    with packing.show_progress() as tell:
        tell("sorting", 1000)
        tell("sorting", 500)
    assert any("sorting: 1,500 rows" in picture["text/plain"] for picture in shown)
