"""upstairs doctor: is this installation well? In Python: ``upstairs.doctor.examine``."""

import typer
from rich.table import Table

from upstairs.cli import options
from upstairs.cli.screen import bold, escape, print_json, progress, say, show

__all__ = ["EXAMPLES", "command"]

EXAMPLES = "Example: upstairs doctor"


def doctor(json: options.Json = False) -> None:
    """Say which versions, threads and extras there are, and try three learners on a small example (seconds; the first time
    a minute, since loops are compiled).

    Exit code 1 if a learner doesn't learn.
    """
    from upstairs.doctor import CHECKED, examine  # loads scikit-learn, which --help needn't wait for

    with progress(len(CHECKED)) as begin:
        findings = examine(begin)
    if json:
        print_json(
            findings
            | {
                "extras": {extra.name: list(extra.missing) for extra in findings["extras"]},
                "self_test": [one._asdict() | {"passed": one.passed} for one in findings["self_test"]],
            }
        )
    else:
        _tell(findings)
    if not findings["well"]:
        raise typer.Exit(1)


command = doctor


def _tell(findings: dict) -> None:
    say("  ".join(f"{name} {bold(version)}" for name, version in findings["versions"].items()))
    limits = "".join(f", {name}={value}" for name, value in findings["limits"].items())
    say(f"{findings['cores']} cores{escape(limits)}\n")
    extras = Table("extra", "state")
    for extra in findings["extras"]:
        lacking = f"lacks {', '.join(extra.missing)}: pip install 'upstairs[{extra.name}]'"
        extras.add_row(extra.name, escape(lacking) if extra.missing else "[green]ready[/]")
    show(extras)
    tests = Table("learner", "error with no row", "with eight", "seconds", "")
    for column in tests.columns[1:4]:
        column.justify = "right"
    for one in findings["self_test"]:
        verdict = "[green]learns[/]" if one.passed else "[bold red]doesn't learn[/]"
        tests.add_row(one.learner, f"{one.before:.3f}", f"{one.after:.3f}", f"{one.seconds:.1f}", verdict)
    show(tests)
    if not findings["well"]:
        say("Something is broken: please report this page, with how upstairs was installed.")
