"""A display as SVG that stands inside a page: text stays text, takes the page's own colour, and no two pictures share an id."""

import hashlib
import io
import re
import warnings

from upstairs.displays.style import Display, load_matplotlib

__all__ = ["to_svg"]

INK = "#010203"
"""Stands for the page's own colour until the picture is drawn."""
FONT, FONTS = "DejaVu Sans", "'DejaVu Sans', Verdana, sans-serif"
"""The one that widths are counted with, and what a page may take: Verdana is as wide."""


def to_svg(
    display: Display,
    *,
    ink: str = "currentColor",
    title: str | None = None,
    description: str | None = None,
    width: float | None = None,
) -> str:
    """Draw a display as an ``<svg>`` element for a page of HTML.

    It has no background, and text, ticks and grid have the colour of the text around it, so that it suits light and dark pages
    alike. The same numbers give the same string, bit for bit.

    Parameters
    ----------
    display : Display
    ink : str, default="currentColor"
        Any colour of CSS.
    title : str, optional
        Instead of the display's own, in the picture; "" is none.
    description : str, optional
        What screen readers say; by default the display's own title.
    width : float, optional
        In inches; by default the display's own. Text keeps its size, so that a narrow picture can be read on a telephone.

    Returns
    -------
    svg : str
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    file = io.StringIO()
    settings = {"svg.hashsalt": "upstairs", "svg.fonttype": "none", "font.family": FONT, "text.color": INK}
    literally = {"text.parse_math": False}  # a user's $ is a dollar
    with matplotlib.rc_context(settings | literally), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the page's fonts have more of them than the one that counts widths
        size = display.size if width is None else (width, min(display.size[1], width))
        figure = Figure(figsize=size, layout="constrained")
        display.plot(display.make_axes(figure), ink=INK, title=title)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = _inline(file.getvalue(), description or display.title)
    return svg.replace(INK, ink).replace(f"'{FONT}'", FONTS)


def _inline(svg: str, description: str) -> str:
    """Without what only files need, with ids of its own."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
    used = {name for pair in used for name in pair if name}
    prefix = "d" + hashlib.sha256(svg.encode()).hexdigest()[:10]
    svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r"url\(#|href=\"#", lambda match: f"{match[0]}{prefix}-", svg)
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    head = f'<svg role="img" aria-label="{label}" style="max-width: 100%; height: auto" '
    return svg.replace("<svg ", head, 1).strip()
