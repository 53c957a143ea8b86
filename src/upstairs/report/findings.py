"""A report as a plain dict: every sentence, table and number that the page shows, and all others that the evaluation holds.

It knows nothing of HTML; `render.render` makes a page of this dict and of nothing else, and as JSON it is the report's twin.
"""

from collections.abc import Callable, Sequence
from typing import Any

from upstairs import __version__
from upstairs.json_types import plain_json
from upstairs.report.cases import cases
from upstairs.report.insight import columns_by_importance, drivers, learned
from upstairs.report.oddness import odd
from upstairs.report.quality import calibration, harm, overfitting, unseen, value_of_rows
from upstairs.report.section import section
from upstairs.report.subject import Subject

__all__ = ["N_STEPS", "find"]

N_STEPS = 9
"""Steps that ``progress`` is told of, at most."""
IN_SHORT = ("unseen", "baselines", "rows", "calibration", "drivers")
"""Sections whose leads are the summary, with the sentence about baselines between them."""


def find(
    evaluation: Any,
    model: Any,
    X: Any,
    *,
    learner: str | None = None,
    target: str | None = None,
    source: Sequence[str] = (),
    along: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """What there is to report.

    Parameters
    ----------
    evaluation : Evaluation
    model : fitted meta-model
        Of which it is told what it learned, what drives it, and which of its known tasks are odd.
    X : table of n rows
        Rows to tell the importance and the effects of columns from.
    learner : str, optional
        One of the evaluation's own learners; by default the first.
    target : str, optional
        What the target is called; by default the name of y.
    source : sequence of str
        Sentences about where model and rows come from.
    along : str, optional
        The column along which single tasks are drawn, if the model has it: that of the order of rows, say.
    progress : callable, optional
        It is told the name of each step.

    Returns
    -------
    findings : dict
        ``title``, ``summary`` (sentences), ``sections`` (see `section`), ``warnings``, ``words`` (the user's), ``upstairs``
        (the version) and ``evaluation`` (every number of it), in plain JSON types.
    """
    begin = progress or (lambda step: None)
    subject = Subject.of(evaluation, learner or evaluation.own_learners[0], target)
    begin("Looking at errors")
    first = [unseen(subject), value_of_rows(subject), calibration(subject)]
    begin("Asking what drives it")
    importances = columns_by_importance(model, X)
    driven = drivers(subject, model, X, importances)
    begin(f"Mapping {subject.many}")
    mapped = odd(subject, model)
    drawn = cases(subject, importances, along, progress)
    sections = [learned(subject, model, list(source)), *first, driven, overfitting(subject), harm(subject), mapped, drawn]
    sections = [one for one in sections if one is not None]
    sections.insert(0 if evaluation.warnings else len(sections), _warned(subject))
    leads = {**subject.said, **{one["name"]: one["lead"] for one in sections}}
    return plain_json(
        {
            "title": f"Predicting {subject.target} for a new {subject.one}",
            "summary": [leads[name] for name in IN_SHORT if name in leads],
            "warnings": evaluation.warnings,
            "sections": sections,
            "words": {
                "task": subject.one,
                "tasks": subject.many,
                "target": subject.target,
                "learner": subject.learner,
                "class": type(model).__name__,
            },
            "upstairs": __version__,
            "evaluation": subject.found,
        }
    )


def _warned(subject: Subject) -> dict[str, Any]:
    """What makes all this less than it seems."""
    told = subject.evaluation.warnings
    lead = "Nothing odd was found in the rows." if not told else told[0]
    rest = [
        f"Looked for were columns that give {subject.one} or {subject.target} away, and too few {subject.many} or rows.",
        f"No program sees a column that is known only after {subject.target}, or new {subject.many} that differ from these.",
    ]
    return section("warnings", "What to be careful about", lead, [*told[1:], *rest])
