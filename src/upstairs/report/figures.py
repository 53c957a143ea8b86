"""Figures as plain numbers with words beside them, and the displays that draw them."""

import inspect
from typing import Any

import numpy as np

from upstairs import displays

__all__ = ["describe", "draw"]

LONGEST_NAME, LONGEST_ON_A_TELEPHONE = 28, 14
TELEPHONE = 3.75
"""Inches of a picture whose text is as large on a telephone as that of other pictures is on a desk."""


def describe(display: Any, caption: str, description: str, note: str = "") -> dict[str, Any]:
    """A display's numbers as a dict.

    Parameters
    ----------
    display : Display
    caption : str
        What a reader sees above the picture.
    description : str
        What is said to one who doesn't see it.
    note : str
        What a reader sees below.
    """
    parameters = list(inspect.signature(type(display).__init__).parameters)[1:]
    numbers, dates = {}, []
    for name in parameters:
        value = getattr(display, name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "M":
            dates.append(name)
            value = value.astype("M8[us]").astype(str)
        numbers[name] = value
    return {
        "display": type(display).__name__,
        "caption": caption,
        "description": description,
        "note": note,
        "numbers": numbers,
        "dates": dates,
    }


def draw(figure: dict[str, Any], narrow: bool = False) -> str:
    """The figure as SVG, wide or for a telephone; nothing but its dict is needed."""
    numbers = dict(figure["numbers"])
    for name in figure["dates"]:
        numbers[name] = np.array(numbers[name], "M8[us]")
    for name in ("learners", "names"):
        if numbers.get(name):
            numbers[name] = [_short(str(one), LONGEST_ON_A_TELEPHONE if narrow else LONGEST_NAME) for one in numbers[name]]
    display = getattr(displays, figure["display"])(**numbers)
    description = f"{figure['caption']}. {figure['description']}"
    return displays.to_svg(display, title="", description=description, width=TELEPHONE if narrow else None)


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
