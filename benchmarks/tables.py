"""What benchmarks say: in the terminal, in benchmarks/results/, and in benchmarks/README.md when `run_all.py` asks."""

import argparse
import os
from pathlib import Path

import pandas as pd

__all__ = ["FOLDER", "TOLD", "add_quick", "markdown", "say", "show", "write"]

FOLDER = Path(__file__).parent / "results"
TOLD = "UPSTAIRS_BENCHMARK_TOLD"
"""Variable of the environment that names a file to which all that is shown and said is also added, as Markdown."""


def show(title: str, table: pd.DataFrame, decimals: int = 3) -> None:
    """Print a table under its title."""
    print(f"\n{title}\n{table.to_string(float_format=lambda value: f'{value:.{decimals}f}')}", flush=True)
    _add(f"{title}:\n\n{markdown(table, decimals)}")


def say(sentence: str) -> None:
    """Print what a table can't hold."""
    print(sentence, flush=True)
    _add(sentence)


def write(args: argparse.Namespace, name: str, table: pd.DataFrame) -> None:
    """Keep a summary as results/<name>-<learner>.csv, which is committed; of a quick form nothing is kept."""
    if not args.quick:
        FOLDER.mkdir(exist_ok=True)
        table.to_csv(FOLDER / f"{name}-{args.learner}.csv", float_format="%.4g")


def add_quick(parser: argparse.ArgumentParser, **values) -> None:
    """``--quick``: a minute's work, with these values of other arguments unless they come after it; nothing is kept."""

    class Quick(argparse.Action):
        def __call__(self, parser, namespace, given, option=None):
            for name, value in {"quick": True, **values}.items():
                setattr(namespace, name, value)

    words = [f"--{name.replace('_', '-')} {' '.join(map(str, value)) if isinstance(value, list) else value}"
             for name, value in values.items()]  # fmt: skip
    parser.add_argument("--quick", action=Quick, nargs=0, default=False, help=f"{' '.join(words)}; nothing is kept in results/")


def markdown(table: pd.DataFrame, decimals: int = 3) -> str:
    """A table as Markdown; an index without a name that only numbers the rows is left out."""
    if table.index.name or not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(names=[name or "" for name in table.index.names])
    heads = [" ".join(map(str, head)) if isinstance(head, tuple) else str(head) for head in table.columns]
    rows = [heads, ["---"] * len(heads), *([_cell(value, decimals) for value in row] for row in table.itertuples(index=False))]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: object, decimals: int) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{decimals}f}"
    return str(value)


def _add(text: str) -> None:
    if path := os.environ.get(TOLD):
        with open(path, "a") as file:
            file.write(text.strip() + "\n\n")
