"""The error on unseen tasks by the number of tasks that were learned from; and what twice as many would bring.

Each fold is learned anew from a part of its meta-train tasks, the smaller parts inside the larger ones, and asked about the
same rows of the same unseen tasks. Beyond them the error is taken to go on as a + b/n, fitted to the curve: a guess, no
promise.
"""

from collections.abc import Sequence

import numpy as np

from upstairs.errors import UpstairsError
from upstairs.evaluation.draws import Draw
from upstairs.evaluation.folds import Fold
from upstairs.evaluation.losses import Findings, by, mean_error
from upstairs.evaluation.rounds import Question, ask_all
from upstairs.evaluation.tables import columns_of

__all__ = ["gain_of_doubling", "task_curve"]


def task_curve(
    question: Question,
    metas: dict,
    folds: Sequence[Fold],
    whole: Findings,
    shares: Sequence[float],
    n_jobs: int | None = None,
    seed: int = 0,
) -> dict[str, list]:
    """By learner, number of meta-train tasks and shots; ``whole`` are the findings with all of them, which costs no fit."""
    parts = sorted({float(share) for share in shares if share < 1})
    if not parts or parts[0] <= 0 or max(shares) > 1:
        raise UpstairsError(f"shares must hold parts of the tasks between 0 and 1, as (0.25, 0.5), but is {tuple(shares)}.")
    rows = []
    for share in [*parts, 1.0]:
        fewer = [_thin(fold, share, question.draw, np.random.default_rng([seed, f])) for f, fold in enumerate(folds)]
        n_tasks = round(float(np.mean([len(np.unique(question.draw.task[fold.learned])) for fold in fewer])))
        if n_tasks < 2:
            raise UpstairsError(f"A share of {share:g} leaves a single task to learn from; ask for larger shares.")
        found = whole if share == 1 else ask_all(question, metas, fewer, n_jobs)[0]
        for (learner, shots), part in by(found.losses, "learner", "shots"):
            if found.learners[learner] in metas:
                error, se = mean_error(found.metric, part.loss, part.n_rows, part.task)
                name = found.learners[learner]
                rows.append({"learner": name, "n_tasks": n_tasks, "shots": shots, "error": error, "error_se": se})
    rows.sort(key=lambda row: (whole.learners.index(row["learner"]), row["n_tasks"], row["shots"]))
    return columns_of(rows)


def gain_of_doubling(n_tasks: Sequence[int], error: Sequence[float]) -> float:
    """The share of the last error that twice as many tasks would take away, by a + b/n; 0 where the curve doesn't fall."""
    n = np.asarray(n_tasks, float)
    b, _ = np.polyfit(1 / n, np.asarray(error, float), 1)
    return float(np.clip(b / (2 * n[-1]) / error[-1], 0, 1)) if error[-1] > 0 else 0.0


def _thin(fold: Fold, share: float, draw: Draw, rng: np.random.Generator) -> Fold:
    """The fold with a random part of its meta-train tasks, and nothing known that isn't learned."""
    tasks = np.unique(draw.task[fold.learned])
    kept = rng.permutation(tasks)[: max(1, round(share * len(tasks)))]
    return fold._replace(learned=fold.learned[np.isin(draw.task[fold.learned], kept)], known=fold.known[:0])
