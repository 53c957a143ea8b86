"""What the battery's results say: our row beside the peers' in every cell (panel × shots), then one line for each question.

A ratio is our error over another's in the same cell, averaged geometrically over seeds first and over cells then; below 1 we
are better. The best peer of a cell is an oracle over nine methods, chosen after the fact: a harsh bar on purpose.
"""

from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["progress", "ratios", "text"]

REFERENCE = Path(__file__).parent / "reference.csv"
LOG_PANELS = ["txhousing", "birthdays", "flights"]
"""Panels in which one task's scale decides; most of a log target's gain is theirs."""
CELL = ["panel", "shots"]
SHORT = {
    "shrunk-mean": "mean",
    "task-ridge": "ridge",
    "lgbm+shift": "shift",
    "lgbm-taskid": "taskid",
    "gpboost-slopes": "slopes",
}


def progress(rows: list[dict]) -> str:
    """One line for a panel just scored."""
    first = rows[0]
    scores = "  ".join(f"{row['shots']}: {_score(row):.4f}" for row in rows)
    return f"{first['panel']:<14}seed {first['seed']}  fit {first['fit_cpu_s']:6.2f} s   {scores}"


def text(label: str, ours: pd.DataFrame, against: list[str] | None, folder: Path, panels, shots, seeds) -> str:
    """The whole report; peers are those of reference.csv, or the results of earlier runs that ``against`` names."""
    ours = ours[ours.panel.isin(panels) & ours.shots.isin(shots) & ours.seed.isin(seeds)]
    if ours.empty:
        return "No results yet."
    ours = _with_scores(ours)
    reference = _with_scores(pd.read_csv(REFERENCE))
    peers = reference if against is None else _earlier_runs(folder, against)
    lines = [f"{label}: {ours.panel.nunique()} panels, seeds {sorted(ours.seed.unique().tolist())}", ""]
    if len(peers):
        cells = _cells(ours, peers)
        lines += [*_table(cells, peers), "", *_ratios(cells, peers), ""]
    lines += _coverages(ours) + _costs(ours, reference)
    return "\n".join(lines)


def ratios(ours: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean ratio of our error to that of the best peer of each cell, and to each peer's, by shots."""
    ours, peers = _with_scores(ours), _with_scores(pd.read_csv(REFERENCE))
    cells = _cells(ours, peers)
    best = _ratio(cells, "best")
    by_peer = {"the best peer of each cell": best, "the same without log panels": best[~best.panel.isin(LOG_PANELS)]}
    by_peer |= {name: _ratio(cells, name) for name in pd.unique(peers.method) if cells[name].notna().all()}
    means = {name: np.exp(np.log(one.set_index("shots").ratio).groupby("shots").mean()) for name, one in by_peer.items()}
    table = pd.DataFrame(means).T.rename_axis("error over that of")
    return table.assign(won=[f"{(one.ratio < 1).sum()} of {len(one)} cells" for one in by_peer.values()])


def _score(row) -> float:
    return row["nmse"] if row["kind"] == "regression" else row["logloss"]


def _with_scores(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(score=table.nmse.where(table.kind == "regression", table.logloss))


def _earlier_runs(folder: Path, labels: list[str]) -> pd.DataFrame:
    runs = [_with_scores(pd.read_csv(folder / f"{label}.csv")).assign(method=label) for label in labels]
    return pd.concat(runs) if runs else pd.DataFrame()


def _cells(ours: pd.DataFrame, peers: pd.DataFrame) -> pd.DataFrame:
    """One row for each panel × shots × seed that we and some peer have: our score, each peer's, the best peer's."""
    key = [*CELL, "seed"]
    others = peers.pivot_table(index=key, columns="method", values="score")
    cells = ours.set_index(key)[["kind", "score"]].join(others, how="inner")
    return cells.assign(best=cells[others.columns].min(axis=1), best_peer=cells[others.columns].idxmin(axis=1)).reset_index()


def _table(cells: pd.DataFrame, peers: pd.DataFrame) -> list[str]:
    names = [name for name in pd.unique(peers.method) if name in cells]
    order = {panel: i for i, panel in enumerate(pd.unique(cells.panel))}
    means = cells.groupby(CELL)[["score", "best", *names]].mean().reset_index()
    means = means.sort_values(CELL, key=lambda column: column.map(order) if column.name == "panel" else column)
    ratio = _ratio(cells, "best").set_index(CELL).ratio
    heads = [SHORT.get(name, name) for name in names]
    width = max(9, *(len(head) + 2 for head in heads))
    lines = [f"{'panel':<14}{'shots':>5}{'ours':>9}{'ratio':>8}" + "".join(f"{head:>{width}}" for head in heads)]
    for row in means.to_dict("records"):
        others = "".join(_number(row[name], width, row[name] == row["best"]) for name in names)
        lines.append(
            f"{row['panel']:<14}{row['shots']:>5}{row['score']:>9.4f}{ratio[row['panel'], row['shots']]:>8.3f}{others}"
        )
    return lines


def _number(value: float, width: int, best: bool) -> str:
    return f"{'-':>{width}}" if np.isnan(value) else f"{f'{value:.4f}' + ('*' if best else ' '):>{width}}"


def _ratio(cells: pd.DataFrame, other: str) -> pd.DataFrame:
    """Ratio of our score to the other's in each panel × shots, a geometric mean over seeds."""
    cells = cells.assign(ratio=np.log(cells.score / cells[other])).dropna(subset="ratio")
    means = cells.groupby(CELL).agg(kind=("kind", "first"), ratio=("ratio", "mean")).reset_index()
    return means.assign(ratio=np.exp(means.ratio))


def _ratios(cells: pd.DataFrame, peers: pd.DataFrame) -> list[str]:
    best = _ratio(cells, "best")
    ordinary = best[~best.panel.isin(LOG_PANELS)]
    lines = [
        "Ratio to the best peer of each cell (geometric mean)",
        f"  all panels                {_mean(best)}",
        f"  without {', '.join(LOG_PANELS)}  {_mean(ordinary)}",
    ]
    lines += [f"  {kind:<24}  {_mean(part)}" for kind, part in best.groupby("kind")]
    lines.append(f"  cells won                 {100 * (best.ratio < 1).mean():.0f} % of {len(best)}")
    if cells.seed.nunique() > 1:
        lines += [f"  seed {seed}, all panels        {_mean(_ratio(part, 'best'))}" for seed, part in cells.groupby("seed")]
    shots = sorted(cells.shots.unique())
    lines += ["", f"{'Ratio by shots':<36}" + "".join(f"{k:>8}" for k in shots)]
    lines += [_by_shots("the best peer of each cell", best, shots), _by_shots("  without the log panels", ordinary, shots)]
    lines += [_by_shots(name, _ratio(cells, name), shots) for name in pd.unique(peers.method) if name in cells]
    lines += ["", "Ratio to the best peer by panel", *_by_panel(best), "", "Worst cells"]
    names = cells.groupby(CELL).best_peer.first()
    worst = best.sort_values("ratio", ascending=False).head(10)
    lines += [f"  {r.panel:<14}{r.shots:>3} shots  {r.ratio:.3f} × {names[r.panel, r.shots]}" for r in worst.itertuples()]
    if "lgbm" in cells:
        zero = _ratio(cells, "lgbm").query("shots == 0 and ratio > 1.02")
        lines.append("Zero-shot more than 2 % worse than lgbm: " + (_named(zero) or "none"))
    return lines


def _mean(ratios: pd.DataFrame) -> str:
    return f"{np.exp(np.log(ratios.ratio).mean()):.3f}" if len(ratios) else "-"


def _by_shots(name: str, ratios: pd.DataFrame, shots: list[int]) -> str:
    return f"  {name:<34}" + "".join(f"{_mean(ratios[ratios.shots == k]):>8}" for k in shots)


def _by_panel(ratios: pd.DataFrame) -> list[str]:
    means = [(panel, _mean(part)) for panel, part in ratios.groupby("panel", sort=False)]
    return ["  " + "   ".join(f"{panel} {mean}" for panel, mean in means[i : i + 6]) for i in range(0, len(means), 6)]


def _named(ratios: pd.DataFrame) -> str:
    return ", ".join(f"{row.panel} {row.ratio:.3f}" for row in ratios.itertuples())


def _coverages(ours: pd.DataFrame) -> list[str]:
    numbers = ours[ours.kind == "regression"].dropna(subset="coverage")
    if numbers.empty:
        return []
    panels = numbers.groupby(CELL)[["coverage", "coverage_rows", "width"]].mean().reset_index()
    shots = sorted(panels.shots.unique())
    means, lowest = panels.groupby("shots"), [panels[panels.shots == k].nsmallest(1, "coverage").iloc[0] for k in shots]
    lines = [f"{'90 % intervals at shots':<36}" + "".join(f"{k:>8}" for k in shots)]
    for name, column in [("coverage, by task", "coverage"), ("coverage, by row", "coverage_rows"), ("width / sd(y)", "width")]:
        lines.append(f"  {name:<34}" + "".join(f"{value:>8.3f}" for value in means[column].mean()))
    lines.append(f"  {'lowest panel':<34}" + "".join(f"{row.coverage:>8.3f}" for row in lowest))
    lines.append(f"  {'':<34}" + "".join(f"{row.panel[:7]:>8}" for row in lowest))
    return [*lines, ""]


def _costs(ours: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    fit = ours.groupby("panel", sort=False).fit_cpu_s.mean()
    first = reference[reference.shots == 0]
    lgbm, gpboost = (first[first.method == name].groupby("panel").fit_cpu_s.mean()[fit.index] for name in ("lgbm", "gpboost"))
    costs = [f"{panel} {seconds:.1f} s ({seconds / lgbm[panel]:.1f} ×)" for panel, seconds in fit.items()]
    dear = fit[fit > np.where(lgbm < 0.3, 2.0, 6 * lgbm)]
    return [
        "Fit CPU, and its ratio to the reference's lgbm (another machine; benchmarks/speed.py compares in one run)",
        *("  " + "   ".join(costs[i : i + 6]) for i in range(0, len(costs), 6)),
        f"  above 6 × lgbm, or 2 s where lgbm takes under 0.3 s: {', '.join(dear.index) or 'none'}",
        f"  below GPBoost's on {(fit < gpboost).sum()} of {len(fit)} panels",
        "Adapt and predict, batched, ms a task at each number of shots: "
        + "  ".join(f"{k}: {ms:.2f}" for k, ms in ours.groupby("shots").ms_per_task.mean().items()),
    ]
