"""Where does it stand, on one page?

    python benchmarks/plot.py

Draws docs/battery.svg from results/battery-*.txt and reference.csv: for each panel and number of rows seen of an unseen task,
the error of our learners, and of the peer that is the best of nine most often, over that of the best of these nine in that very
cell. Left of 1 is better than the best of them. A row is a panel, and within it the dots descend from 0 rows to 20. The picture
takes the reader's light or dark colours.
"""

import io
import re
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "battery.svg"
LEARNERS = {"auto": "AutoMeta", "forest": "forest", "gradient": "meta-gradient", "svm": "support vectors"}
PEER, PEER_NAME = "lmm", "mixed model"
SHOTS = [0, 1, 2, 5, 10, 20]
COLOURS = ["#E69F00", "#E2743C", "#CE5A74", "#A0589F", "#6A67BC", "#2F86C9"]
"""From few rows to many; each as legible on white as on black."""
LEAST, MOST, TICKS = 0.22, 4.8, [0.3, 0.5, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 4]
LINEAR = 0.1
"""Logarithms of ratios below this have room, larger ones are squeezed: a few per cent show beside a factor of three."""
INK, PAPER = ("#1f2328", "#f0f6fc"), ("#ffffff", "#0d1117")
"""In light and in dark."""


def main() -> None:
    ratios = {title: _ours(name) for name, title in LEARNERS.items()} | {PEER_NAME: _peers()}
    won = {title: _won(name) for name, title in LEARNERS.items()}
    first = next(iter(ratios.values()))
    panels = np.exp(np.log(first).groupby("panel").mean()).sort_values().index.tolist()
    settings = {"svg.hashsalt": "upstairs", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9}
    ink = dict.fromkeys(["text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"], INK[0])
    with matplotlib.rc_context(settings | ink):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        axes = figure.subplots(1, len(ratios), sharex=True, sharey=True)
        for ax, (title, ratio) in zip(axes, ratios.items(), strict=True):
            _column(ax, title, ratio, panels, won.get(title))
        _heads(axes, panels)
        _legend(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    PICTURE.write_text(_with_readers_colours(file.getvalue()))


def _ours(learner: str) -> pd.Series:
    """Ratios to the best peer by panel and shots, as `report.py` prints them."""
    cells = re.findall(r"^(\w+) +(\d+) +[\d.]+ +([\d.]+) ", _report(learner), re.MULTILINE)
    return pd.Series({(panel, int(shots)): float(ratio) for panel, shots, ratio in cells}).rename_axis(["panel", "shots"])


def _won(learner: str) -> str:
    """The share of cells in which it beats every peer."""
    return re.findall(r"cells won +(\d+ %)", _report(learner))[0]


def _report(learner: str) -> str:
    return (HERE / "results" / f"battery-{learner}.txt").read_text()


def _peers() -> pd.Series:
    """The same of one peer; a geometric mean over seeds."""
    reference = pd.read_csv(HERE / "reference.csv")
    reference["error"] = reference["nmse"].fillna(reference["logloss"])
    errors = reference.pivot_table(index=["panel", "shots", "seed"], columns="method", values="error")
    return np.exp(np.log(errors[PEER] / errors.min(axis=1)).groupby(["panel", "shots"]).mean())


def _column(ax, title: str, ratio: pd.Series, panels: list[str], won: str | None) -> None:
    """Dots by panel, and the geometric means of all panels in a row of their own, below."""
    means = np.exp(np.log(ratio).groupby("shots").mean())
    rows = [(place, ratio[panel]) for place, panel in enumerate(panels)] + [(len(panels) + 0.6, means)]
    for place, values in rows:
        heights = place + np.linspace(-0.28, 0.28, len(SHOTS))
        ax.plot(values[SHOTS], heights, color=INK[0], alpha=0.25, lw=0.8, zorder=2)
        ax.scatter(values[SHOTS], heights, 22, COLOURS, lw=0, zorder=3, clip_on=False)
    ax.set_title(title, fontsize=10.5, fontweight="bold" if won else "normal", pad=22)
    told = f"mean {np.exp(np.log(ratio).mean()):.2f}" + (f", wins {won}" if won else "")
    ax.annotate(told, (0.5, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", ha="center", alpha=0.75)


def _heads(axes, panels: list[str]) -> None:
    for ax in axes:
        ax.axvline(1, color=INK[0], lw=1, zorder=1)
        ax.axhline(len(panels) - 0.2, color=INK[0], alpha=0.3, lw=0.8)
        for place in range(0, len(panels), 2):
            ax.axhspan(place - 0.5, place + 0.5, color=INK[0], alpha=0.05, lw=0)
        ax.set_xscale("function", functions=(_squeeze, _spread))
        ax.set(xlim=(LEAST, MOST), ylim=(len(panels) + 1.2, -0.6))
        ax.set_xticks(TICKS, [f"{tick:g}" if tick in (0.5, 1, 2) else "" for tick in TICKS])
        ax.set_xticks([], minor=True)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.grid(axis="x", color=INK[0], alpha=0.12, lw=0.6)
    axes[0].set_yticks([*range(len(panels)), len(panels) + 0.6], [*panels, "all panels"])
    axes[0].get_yticklabels()[-1].set_fontweight("bold")


def _squeeze(ratio: np.ndarray) -> np.ndarray:
    return np.arcsinh(np.log(np.maximum(ratio, 1e-9)) / LINEAR)


def _spread(place: np.ndarray) -> np.ndarray:
    return np.exp(LINEAR * np.sinh(place))


def _legend(figure: Figure) -> None:
    dots = [
        matplotlib.lines.Line2D([], [], ls="", marker="o", ms=6, mew=0, color=colour, label=str(shots))
        for shots, colour in zip(SHOTS, COLOURS, strict=True)
    ]
    figure.legend(
        handles=dots, ncols=len(SHOTS), loc="outside upper center", frameon=False, handletextpad=0, columnspacing=1.2,
        title="error on unseen tasks over that of the best of nine peers in each cell, after so many rows of the task:",
    )  # fmt: skip
    figure.supxlabel("left of 1: better than every peer", fontsize=9, color=INK[0])


def _with_readers_colours(svg: str) -> str:
    """Ink and paper of a light page, and of a dark one for readers who prefer it."""
    light, dark = (f"svg {{ color: {ink}; background: {paper} }}" for ink, paper in zip(INK, PAPER, strict=True))
    style = f"<style>{light} @media (prefers-color-scheme: dark) {{ {dark} }}</style>"
    svg = (
        svg[svg.index("<svg ") :].replace(INK[0], "currentColor").replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    )
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {style}", svg, count=1)


if __name__ == "__main__":
    main()
