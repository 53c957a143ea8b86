"""The house as a picture: docs/architecture.svg, drawn from the code.

    python docs/draw_architecture.py

Storeys are the layers that import-linter checks (pyproject.toml), from the cellar up; rooms are modules and packages; each file
of a room is a window. Colours are dark enough for white names and stand on any background, light or dark.
"""

import ast
import tomllib
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE, PICTURE = ROOT / "src" / "upstairs", ROOT / "docs" / "architecture.svg"

WIDTH, LEFT, RIGHT = 940, 150, 30
STOREY, ROOF, GROUND = 40, 74, 46
GAP, LETTER, WINDOW = 5, 7.1, 8
CELLAR_COLOUR, TOP_COLOUR, ROOF_COLOUR = (44, 62, 101), (28, 118, 112), "#a8492f"
INK, LIGHT = "#767676", "#ffe9b0"
STAGES = {
    "cli": "what people touch",
    "bulk": "files and tables",
    "evaluation": "can I trust it?",
    "auto": "learners",
    "contract": "written once for all",
    "calibration": "mathematics",
    "prediction": "numbers at the door",
}
"""Beside the uppermost storey of each group: the room that stands in it, and what the group is for."""


class Room(NamedTuple):
    name: str
    about: str
    n_files: int

    @property
    def least_width(self) -> float:
        return max(LETTER * len(self.name), WINDOW * min(self.n_files, 12)) + 18


def main() -> None:
    PICTURE.write_text(draw())


def draw() -> str:
    """The picture as SVG; the same code gives the same text."""
    storeys = read_storeys()
    height = ROOF + STOREY * (len(storeys) - 1) + GROUND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"',
        '  aria-label="The house: storeys of rooms, each of which imports only rooms below it" '
        'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">',
        *_roof(storeys[0]),
    ]
    for i, storey in enumerate(storeys[1:]):
        top = ROOF + STOREY * i
        parts += _storey(storey, top, _colour(i / (len(storeys) - 2)))
        if stage := next((STAGES[room.name] for room in storey if room.name in STAGES), None):
            parts += _stage(stage, top)
    return "\n".join([*parts, *_stage(STAGES["cli"], 26, line=False), *_ground(height), "</svg>", ""])


def read_storeys() -> list[list[Room]]:
    """Rooms by storey, from the roof down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["containers"] == ["upstairs"])
    return [[read_room(name.strip()) for name in layer.split("|")] for layer in layers]


def read_room(name: str) -> Room:
    path = SOURCE / name if (SOURCE / name).is_dir() else SOURCE / f"{name}.py"
    files = [file for file in path.rglob("*.py") if file.stat().st_size] if path.is_dir() else [path]
    first = path / "__init__.py" if path.is_dir() and (path / "__init__.py").stat().st_size else min(files)
    about = (
        ast.get_docstring(ast.parse(first.read_text())).splitlines()[0] if path.is_file() or first.stem == "__init__" else ""
    )
    return Room(name, about, len(files))


def _roof(storey: list[Room]) -> list[str]:
    """The uppermost storey lies under the tiles."""
    middle, eaves = LEFT + (WIDTH - LEFT - RIGHT) / 2, ROOF
    name = " · ".join(room.name for room in storey)
    n_files = sum(room.n_files for room in storey)
    chimney = WIDTH - RIGHT - 170
    return [
        f'<rect x="{chimney}" y="14" width="26" height="50" fill="{ROOF_COLOUR}"/>',
        f'<path d="M{LEFT - 22} {eaves} L{middle} 4 L{WIDTH - RIGHT + 22} {eaves} Z" fill="{ROOF_COLOUR}"/>',
        *_named(name, " ".join(room.about for room in storey), n_files, middle, 30),
    ]


def _storey(rooms: list[Room], top: float, colour: str) -> list[str]:
    """Rooms share the width of the house by what they need."""
    free = WIDTH - LEFT - RIGHT - GAP * (len(rooms) - 1) - sum(room.least_width for room in rooms)
    parts, x = [], float(LEFT)
    for room in rooms:
        width = room.least_width + free / len(rooms)
        parts.append(f'<rect x="{x:.1f}" y="{top + 2.5:.1f}" width="{width:.1f}" height="{STOREY - 5}" fill="{colour}"/>')
        parts += _named(room.name, room.about, room.n_files, x + width / 2, top)
        x += width + GAP
    return parts


def _named(name: str, about: str, n_files: int, middle: float, top: float) -> list[str]:
    """A name, and a window for each file."""
    left = middle - WINDOW * n_files / 2
    lit = "".join(f'<rect x="{left + WINDOW * k + 1.5:.1f}" y="{top + 26:.1f}" width="5" height="7"/>' for k in range(n_files))
    title = f"<title>{escape(name)}: {escape(about)}</title>" if about else ""
    place = f'x="{middle:.1f}" y="{top + 19:.1f}"'
    return [
        f'<text {place} text-anchor="middle" font-size="13" fill="#ffffff">{title}{escape(name)}</text>',
        f'<g fill="{LIGHT}">{lit}</g>',
    ]


def _stage(words: str, top: float, line: bool = True) -> list[str]:
    edge = f'<path d="M10 {top} H{LEFT - 8}" stroke="{INK}" stroke-opacity="0.45" fill="none"/>' if line else ""
    return [edge, f'<text x="10" y="{top + 19:.1f}" font-size="12.5" fill="{INK}">{escape(words)}</text>']


def _ground(height: float) -> list[str]:
    y = height - GROUND + 2
    return [
        f'<path d="M0 {y} H{WIDTH}" stroke="{INK}" stroke-width="2"/>',
        f'<text x="{LEFT}" y="{y + 26}" font-size="12.5" fill="{INK}">A room imports only rooms below it; rooms of one storey '
        "don't know each other. Each window is a file.</text>",
    ]


def _colour(share: float) -> str:
    """From the uppermost storey (0) to the cellar (1)."""
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(TOP_COLOUR, CELLAR_COLOUR, strict=True))


if __name__ == "__main__":
    main()
