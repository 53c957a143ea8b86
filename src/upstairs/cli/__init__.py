"""The command line: thin commands, each its own file, that read tables, call the library and print.

A user's mistake ends with exit code 2 and one sentence on stderr; a bug of ours keeps its traceback. Results go to stdout,
notes and progress to stderr; with ``--json`` stdout holds one JSON object and nothing else.
"""

import inspect
import re
import sys
import warnings
from typing import Annotated, Any

import typer

from upstairs import __version__
from upstairs.cli import demo, doctor, evaluate, explain, fit, info, options, pack, predict, report, serve
from upstairs.cli.screen import complain, note
from upstairs.errors import UpstairsError, UpstairsWarning

__all__ = ["app", "main"]

_UsageError: Any = typer.BadParameter.__base__  # click's; newer versions of typer carry their own copy of click

app = typer.Typer(
    name="upstairs",
    help="Learn across many related small tables (tasks), then adapt to a new one from few rows.",
    epilog="Example: upstairs fit rows.parquet --task store --target sales -o stores.upstairs",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for room in (fit, predict, explain, evaluate, report, pack, serve, info, demo, doctor):
    paragraphs = re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.getdoc(room.command) or "")
    app.command(help=paragraphs, epilog=room.EXAMPLES)(options.spread(room.command))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit with 0, or 2 after a user's mistake, or 130 after Ctrl-C; 1 is a doctor's bad news."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UpstairsWarning)
        warnings.showwarning = _show_warning
        try:
            code = app(arguments, prog_name="upstairs", standalone_mode=False)
        except UpstairsError as error:
            complain(str(error))
            code = 2
        except _UsageError as error:  # a wrong option, or a missing one
            command = error.ctx.command_path if error.ctx else "upstairs"
            complain(f"{error.format_message().rstrip('.')}. See `{command} --help`.")
            code = error.exit_code
        except typer.Abort:
            code = 130
    sys.exit(code if isinstance(code, int) else 0)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"upstairs {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, UpstairsWarning):
        note(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))
