"""The path of a meta support vector machine: what a wider margin costs, and which point of it was taken."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from upstairs.displays.style import COLOURS, SMALL, Display, powers_of_ten
from upstairs.errors import UpstairsError

__all__ = ["MetaPathDisplay"]

PANELS = {
    "held_out": "held-out score (low is good)",
    "loss": "mean loss Ē",
    "norm": "‖θ‖",
    "n_support": "support vectors",
}


class MetaPathDisplay(Display):
    """Along λ, from the widest margin on: the held-out score, the mean loss, ‖θ‖ and the number of support vectors.

    The point that was taken is marked, and so is the loss budget, if there was one.

    Parameters
    ----------
    lam : array-like [L]
        λ, ascending.
    loss, norm, held_out : array-like [L]
        Ē, ‖θ‖, and the score on tasks held out, the lower the better.
    n_support : array-like [L]
        Support vectors.
    chosen : float, optional
        λ of the fitted model; 0 (θ = 0 meets the budget) has no place on the axis.
    budget : float, optional
        ε, if it was given.
    note : str, optional
        What the model rests on, in words: the title.
    panels : sequence of str, default=("held_out", "loss", "norm", "n_support")
        What to draw, each in axes of its own.
    """

    size = (7.2, 5.4)

    def __init__(
        self, lam, loss, norm, held_out, n_support, *, chosen=None, budget=None, note=None, panels=tuple(PANELS)
    ):  # fmt: skip
        self.lam, self.loss, self.norm = (np.asarray(values, float) for values in (lam, loss, norm))
        self.held_out, self.n_support = np.asarray(held_out, float), np.asarray(n_support)
        self.chosen, self.budget, self.note = chosen, budget, note
        if unknown := [name for name in panels if name not in PANELS]:
            raise UpstairsError(f"panels names {unknown[0]!r}, but there are {', '.join(PANELS)}.")
        self.panels = tuple(panels)

    @classmethod
    def from_estimator(cls, meta, *, panels=tuple(PANELS)):
        """The path of a fitted MetaSVC or MetaSVR.

        λ is that of all tasks, as ``meta.lambda_`` is. Of large data the path itself is that of the tasks that choices were
        made on (see `meta_path`), and so are its losses and support vectors. The point that was taken lies on its line, between
        two of its dots where a budget wants it there.

        Raises
        ------
        UpstairsError
            Where the model has no path.
        """
        check_is_fitted(meta)
        if not hasattr(meta, "meta_path"):
            raise UpstairsError(f"A {type(meta).__name__} has no path along λ; MetaSVC and MetaSVR have.")
        from upstairs.svm.path import GRID  # loads numba, which other displays needn't wait for

        path, info = meta.meta_path(), meta.info_
        return cls(
            GRID[: len(path.lam)] * info.n_tasks, path.loss, path.norm, path.held_out, path.n_support, chosen=info.lam,
            budget=None if isinstance(meta.loss_budget, str) else float(meta.loss_budget), note=str(info), panels=panels,
        )  # fmt: skip

    @property
    def title(self):
        return self.note or "Meta-models along λ"

    def make_axes(self, figure: Any) -> Any:
        """Axes of a figure, two in a row."""
        n = len(self.panels)
        axes = figure.subplots((n + 1) // 2, min(n, 2), sharex=True, squeeze=False).ravel()
        for spare in axes[n:]:
            spare.remove()
        return axes[:n]

    def _check_axes(self, axes: Any) -> list:
        every = list(np.ravel(axes))
        if len(every) != len(self.panels) or not all(hasattr(one, "transAxes") for one in every):
            raise UpstairsError(
                f"ax must hold {len(self.panels)} Axes of matplotlib, one for each of {', '.join(self.panels)}."
            )
        return every

    def _draw(self, ax, ink):
        from matplotlib.ticker import MaxNLocator

        for one, name in zip(np.ravel(ax), self.panels, strict=True):
            values = getattr(self, name)
            one.set_xscale("log")
            one.minorticks_off()
            powers_of_ten(one.xaxis)
            one.yaxis.set_major_locator(MaxNLocator(5, integer=name == "n_support"))
            one.plot(self.lam, values, color=COLOURS[0], linewidth=2, marker="o", markersize=4)
            if self.chosen:
                one.axvline(self.chosen, color=ink, alpha=0.5, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                if self.lam[0] <= self.chosen * (1 + 1e-9) and self.chosen <= self.lam[-1] * (1 + 1e-9):
                    there = np.interp(np.log(self.chosen), np.log(self.lam), values)
                    one.plot(self.chosen, there, color=COLOURS[1], marker="o", markersize=8, zorder=4)
            if name == "loss" and self.budget is not None:
                one.axhline(self.budget, color=COLOURS[1], linewidth=1.2, zorder=1)
                one.annotate(
                    f"budget ε = {self.budget:g}", (1, self.budget), (0, 3), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="right", color=ink, fontsize=SMALL,
                )  # fmt: skip
            one.set_ylabel(PANELS[name])
            one.tick_params(labelbottom=True)
            one.set_xlabel("λ")
