"""Where does it stand, on one page?

    python benchmarks/plot.py

Draws docs/battery.svg from results/raw/unseen/forest.csv and reference.csv: the geometric mean, over panels, of each method's
error over that of the best peer of the panel at that number of shots. Below 1 is better than the best peer of every cell.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

HERE = Path(__file__).parent
PEERS = {"lgbm": "pooled LightGBM", "lgbm+shift": "pooled + shift", "lmm": "mixed model", "gpboost": "GPBoost",
         "lgbm-taskid": "LightGBM, task id"}  # fmt: skip
LOG_PANELS = ["txhousing", "birthdays", "flights"]


def main() -> None:
    ours = _scores(pd.read_csv(HERE / "results/raw/unseen/forest.csv"))
    reference = pd.read_csv(HERE / "reference.csv")
    seeds = sorted(set(ours.index.get_level_values("seed")) & set(reference["seed"]))
    peers = {name: _scores(reference[reference["method"] == name]) for name in reference["method"].unique()}
    best = pd.concat(peers.values(), axis=1).min(axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for ax, without, title in zip(axes, ([], LOG_PANELS), ("all 18 panels", "without the three on a log scale"), strict=True):
        ends = {label: _line(ax, peers[name] / best, seeds, without, color="0.6", lw=1.2) for name, label in PEERS.items()}
        ends["Upstairs' forest"] = _line(ax, ours / best, seeds, without, color="C3", lw=2.5)
        _label(ax, ends)
        ax.axhline(1, color="0.2", lw=0.8, ls=":")
        ax.set(title=title, xlabel="rows seen of an unseen task", yscale="log", ylim=(0.8, 2.4))
        ax.set_yticks([0.8, 0.9, 1, 1.2, 1.5, 2], ["0.8", "0.9", "1", "1.2", "1.5", "2"], minor=False)
        ax.set_yticks([], minor=True)
        ax.set_xticks(range(6), ["0", "1", "2", "5", "10", "20"])
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("error / best peer of the cell")
    plt.rcParams["svg.hashsalt"] = "upstairs"
    figure.savefig(HERE.parent / "docs/battery.svg", metadata={"Date": None})


def _scores(results: pd.DataFrame) -> pd.Series:
    results = results.assign(score=results["nmse"].fillna(results["logloss"]))
    return results.set_index(["panel", "shots", "seed"])["score"].sort_index()


def _line(ax, ratio: pd.Series, seeds: list, without: list, **style) -> float:
    """Draw a line, and say where it ends."""
    ratio = ratio[ratio.index.get_level_values("seed").isin(seeds) & ~ratio.index.get_level_values("panel").isin(without)]
    by_shots = np.exp(np.log(ratio.dropna()).groupby("shots").mean())
    ax.plot(range(len(by_shots)), by_shots, marker="o", ms=3, **style)
    return float(by_shots.iloc[-1])


def _label(ax, ends: dict[str, float]) -> None:
    """Names beside the ends of the lines, moved up where they would meet."""
    lowest = 0.0
    for label, end in sorted(ends.items(), key=lambda item: item[1]):
        lowest = max(end, lowest * 1.055)
        color = "C3" if label.startswith("Upstairs") else "0.4"
        ax.annotate(f" {label}", (5, lowest), color=color, va="center", fontsize=8, annotation_clip=False)


if __name__ == "__main__":
    main()
