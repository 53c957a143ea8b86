"""A table of results, for the terminal and for benchmarks/results/, and running through the cells of one."""

import argparse
from pathlib import Path

import pandas as pd

__all__ = ["FOLDER", "show", "write"]

FOLDER = Path(__file__).parent / "results"


def show(title: str, table: pd.DataFrame, decimals: int = 3) -> None:
    """Print a table under its title."""
    print(f"\n{title}\n{table.to_string(float_format=lambda value: f'{value:.{decimals}f}')}")


def write(args: argparse.Namespace, name: str, table: pd.DataFrame) -> None:
    """Keep a summary as results/<name>-<learner>.csv, which is committed."""
    FOLDER.mkdir(exist_ok=True)
    table.to_csv(FOLDER / f"{name}-{args.learner}.csv", float_format="%.4g")
