"""upstairs demo: a forest that learned on some cities meets others, on real data. In Python: `upstairs.demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from upstairs.archive import check_writable
from upstairs.cli import options
from upstairs.cli.screen import bold, print_json, progress, say, show, show_errors

__all__ = ["EXAMPLES", "command"]

EXAMPLES = "Example: upstairs demo"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MODEL", help="Where to save the model.")] = Path(
        "txhousing.upstairs"
    ),
    json: options.Json = False,
) -> None:
    """Learn the sales of houses across Texan cities, and meet cities never seen before (under a minute)."""
    from upstairs.demo import N_STEPS, run  # loads scikit-learn, which --help needn't wait for

    check_writable(output)
    with progress(N_STEPS) as begin:
        findings = run(output, begin)
    if json:
        print_json(findings)
    else:
        _tell(findings)


command = demo


def _tell(findings: dict) -> None:
    say(
        f"Monthly sales of houses in {findings['cities_learned_from'] + findings['cities_unseen']} cities of Texas "
        f"({findings['rows']:,} rows; {', '.join(findings['columns'])}).\n"
    )
    title = (
        f"Root mean squared error of [bold]sales[/] in {findings['cities_unseen']} cities never seen, "
        f"after learning from {findings['cities_learned_from']} others"
    )
    show_errors(title, findings["shots"], findings["errors"], findings["errors_se"])
    city = findings["one_city"]
    say(f"\nA typical one, {bold(city['city'])}: predictions before and after seeing {city['rows_seen']} of its months")
    show(_city_table(city["months"]))
    say(f"\nThe model is in {bold(findings['model'])}. On your own rows.csv, with a task column store and a target sales:")
    say("  upstairs evaluate rows.csv --task store --target sales")
    say("  upstairs fit rows.csv --task store --target sales -o stores.upstairs")
    say("  upstairs predict stores.upstairs new_rows.csv --support first_rows.csv -o predictions.csv")


def _city_table(months: list[dict]) -> Table:
    table = Table()
    for name in ("month", "truth", "before", "after", "90 % interval"):
        table.add_column(name, justify="right")
    for m in months:
        ends = f"{m['lower']:,.0f} to {m['upper']:,.0f}"
        row = (f"{m[name]:,.0f}" for name in ("truth", "before", "prediction"))
        table.add_row(f"{m['year']}-{m['month']:02}", *row, ends)
    return table
