"""What all displays share: when matplotlib is loaded, the axes, colours that colour-blind people tell apart, labels at lines.

A display holds numbers. It meets matplotlib only in `Display.plot`, so that numbers can be had without it. Lines carry the
colours of Okabe & Ito (2008); text, ticks and grid have one colour, the ink, on no background, so that the same picture can
stand on white and on black.
"""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.isotonic import isotonic_regression

from upstairs.errors import UpstairsError

__all__ = [
    "COLOURS",
    "FAINT",
    "GREY",
    "SMALL",
    "Display",
    "End",
    "colours_of",
    "label_ends",
    "load_matplotlib",
    "percent",
    "powers_of_ten",
    "ramp",
    "shots_axis",
    "ticks_at",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Blue, vermilion, green, purple, orange, sky (Okabe & Ito 2008); a seventh line begins again."""
GREY = "#8F8F8F"
"""Of what is there to compare with; as far from white as from black."""
SMALL, TITLE = 9, 11
FAINT = 0.15
GAP = 1.3
"""Between labels, in heights of their font."""


class Display(abc.ABC):
    """Numbers that can draw themselves.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of Axes where there are several
    figure_ : matplotlib Figure
        Both after ``plot``.
    """

    size: ClassVar[tuple[float, float]] = (6.4, 4.2)
    """Width and height in inches."""
    title_pad: ClassVar[float] = 10
    """Points between title and axes."""

    def plot(self, ax=None, *, ink: str | None = None, title: str | None = None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to; by default a figure of its own.
        ink : colour, optional
            Of text, ticks and grid; by default matplotlib's ``text.color``.
        title : str, optional
            Instead of the display's own; "" is none.

        Returns
        -------
        self

        Raises
        ------
        UpstairsError
            Where matplotlib is missing, or ``ax`` is something else.
        """
        matplotlib = load_matplotlib()
        axes = self.make_axes(_new_figure(self.size)) if ax is None else ax
        ink = ink or matplotlib.rcParams["text.color"]
        every = self._check_axes(axes)
        for one in every:
            _tidy(one, ink)
        self._draw(axes, ink)
        if title is None:
            title = self.title
        if title:
            every[0].set_title(title, loc="left", color=ink, fontsize=TITLE, pad=self.title_pad)
        self.ax_, self.figure_ = axes, every[0].figure
        return self

    def make_axes(self, figure: Any) -> Any:
        """Axes of a figure as ``plot`` takes them."""
        return figure.subplots()

    def _check_axes(self, axes: Any) -> list:
        """All of the axes, or an UpstairsError."""
        if not hasattr(axes, "transAxes"):
            raise UpstairsError(
                f"ax must be an Axes of matplotlib, as plt.subplots() gives them, but is a {type(axes).__name__}."
            )
        return [axes]

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What the picture shows, in a few words."""

    @abc.abstractmethod
    def _draw(self, ax: Any, ink: str) -> None:
        """Draw into tidy axes."""


class End(NamedTuple):
    """Where a line ends, and what it is called."""

    x: Any
    y: float
    name: str
    colour: Any


def load_matplotlib() -> Any:
    """matplotlib itself, or an UpstairsError that says where to get it."""
    try:
        import matplotlib
    except ImportError:
        raise UpstairsError('Displays are drawn by the package matplotlib: pip install "upstairs[report]".') from None
    return matplotlib


def _new_figure(size: tuple[float, float]) -> Any:
    import matplotlib.pyplot as plt

    return plt.figure(figsize=size, layout="constrained")


def _tidy(ax: Any, ink: str) -> None:
    """Only a baseline and faint lines to read values by."""
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(ink)
    ax.tick_params(colors=ink, labelsize=SMALL, left=False)
    ax.grid(axis="y", color=ink, alpha=FAINT, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.patch.set_alpha(0)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=ink, size=SMALL + 1)


def colours_of(grey: Sequence[bool]) -> list[str]:
    """Colours of lines; those of the baselines are grey."""
    own = iter(COLOURS * (1 + len(grey) // len(COLOURS)))
    return [GREY if g else next(own) for g in grey]


def shots_axis(ax: Any, shots: np.ndarray, noun: str) -> None:
    """Rows seen along x: by log(1 + shots), so that the first rows, which matter most, have the room."""
    ax.set_xscale("function", functions=(np.log1p, np.expm1))
    ticks_at(ax, shots)
    ax.set_xlabel(f"rows seen of the unseen {noun}")


def ticks_at(ax: Any, x: np.ndarray) -> None:
    """Ticks at these numbers and nowhere else."""
    ax.set_xticks(x, [f"{value:,}" for value in x.tolist()])
    ax.set_xticks([], minor=True)


def percent(axis: Any) -> None:
    """Shares as percentages."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def powers_of_ten(axis: Any) -> None:
    """10⁴ as plain text, which any page can show."""
    from matplotlib.ticker import FuncFormatter

    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    axis.set_major_formatter(FuncFormatter(lambda value, _: "10" + f"{np.log10(value):.0f}".translate(raised)))


def ramp(n: int) -> list:
    """n colours from few to many: of viridis without its ends, which are too near to black and to white."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](place) for place in np.linspace(0.2, 0.9, n)]


def label_ends(ax: Any, ends: Sequence[End], ink: str) -> None:
    """Names beside the axes, each joined to the end of its line, and none on another.

    Heights z are the nearest to those of the ends y that keep a gap g: with z_i = w_i + i g, w is the isotonic regression of
    y_i − i g. Nothing may be drawn afterwards that changes the limits.
    """
    if not ends:
        return
    ax.get_xlim(), ax.get_ylim()  # matplotlib finds limits only when they are asked for
    ends = sorted(ends, key=lambda end: ax.transData.transform((0, end.y))[1])
    height = ax.transAxes.inverted().transform(ax.transData.transform([(0, end.y) for end in ends]))[:, 1]
    gap = GAP * SMALL / 72 / (ax.get_window_extent().height / ax.figure.dpi) * np.arange(len(ends))
    for end, z in zip(ends, isotonic_regression(height - gap) + gap, strict=True):
        ax.annotate(
            end.name, (end.x, end.y), (1.05, z), textcoords="axes fraction", va="center", color=ink, fontsize=SMALL,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 1, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip
