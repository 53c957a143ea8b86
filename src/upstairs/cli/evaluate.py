"""upstairs evaluate: how well on tasks that were held out? In Python: `upstairs.evaluation`."""

from typing import Annotated

import numpy as np
import typer

from upstairs.cli import options
from upstairs.cli.rows import Rows, read_rows
from upstairs.cli.screen import bold, note, print_json, progress, say, show_errors
from upstairs.errors import UpstairsError
from upstairs.learners import check_learner, learner_class

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs evaluate rows.parquet --task store --target sales

Example: upstairs evaluate rows.csv --task store --target sales --shots 0,5,50 --learner forest --learner hierarchical-ridge"""

BASELINES = ("pooled", "pooled-shift", "shrunk-mean")
SHARE = 0.3


def evaluate(
    file: options.Rows,
    task: options.Task,
    target: options.Target,
    learner: Annotated[
        list[str] | None,
        typer.Option("--learner", help=f"One of {options.learner_names()}; may be repeated.", show_default="forest"),
    ] = None,
    shots: Annotated[
        str, typer.Option("--shots", metavar="LIST", help="How many rows of a new task to show.")
    ] = "0,1,2,5,10,20",
    classify: options.Classify = None,
    drop_missing_target: options.DropMissingTarget = False,
    ignore: options.Ignore = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Learn from 70 % of the tasks in FILE; show the error on the others by number of rows seen, beside baselines."""
    numbers = _parse_shots(shots)
    learners = list(dict.fromkeys([*(learner or ["forest"]), *BASELINES]))
    for name in learners:
        check_learner(name)
    with progress(2 * len(learners) + 1) as begin:
        begin(f"Reading {file.name}")
        rows = read_rows(file, task, target, ignore, drop_missing_target, classify)
        if not json:
            note(f"predicting {'classes' if rows.classify else 'numbers'}: {rows.reason}.")
        findings = _compare(rows, learners, numbers, seed, begin)
    if json:
        print_json({"target": target, "task": task, **findings})
        return
    unseen, seen = findings["tasks_unseen"], findings["tasks_learned_from"]
    title = f"{findings['metric'].capitalize()} of {bold(target)} on {unseen:,} unseen tasks, after learning from {seen:,}"
    show_errors(title, numbers, findings["errors"])
    say("Lower is better, best in bold. Of each unseen task at most half of the rows are shown; the error is on the rest.")


command = evaluate


def _compare(rows: Rows, learners: list[str], shots: list[int], seed: int, begin) -> dict:
    from upstairs import evaluation  # loads scikit-learn, which --help needn't wait for

    unseen = evaluation.hold_out_tasks(rows.groups, SHARE, seed)
    seen_rows, unseen_rows = np.flatnonzero(~unseen), np.flatnonzero(unseen)
    X, y, groups = (part.take(seen_rows) for part in (rows.X, rows.y, rows.groups))
    X_unseen, y_unseen, groups_unseen = (part.take(unseen_rows) for part in (rows.X, rows.y, rows.groups))
    errors, metric = {}, ""
    for name in learners:
        begin(f"{name}: learning across tasks")
        meta = learner_class(name, rows.classify)(random_state=seed).fit(X, y, groups=groups)
        begin(f"{name}: adapting to unseen tasks")
        errors[name] = evaluation.errors_by_shots(meta, X_unseen, y_unseen, groups_unseen, shots, seed).tolist()
        metric = evaluation.metric_of(meta)
    return {
        "metric": metric,
        "shots": shots,
        "errors": errors,
        "tasks_learned_from": len(groups.unique()),
        "tasks_unseen": len(groups_unseen.unique()),
        "rows": rows.X.num_rows,
        "rows_dropped": rows.n_dropped,
    }


def _parse_shots(text: str) -> list[int]:
    try:
        shots = sorted({int(part) for part in text.split(",")})
    except ValueError:
        shots = [-1]
    if shots[0] < 0:
        raise UpstairsError(f"--shots must be whole numbers with commas between them, as 0,1,5,20, but is {text!r}.")
    return shots
