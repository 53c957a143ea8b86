"""`Evaluation`: what `evaluate` found, as tables of the user's kind, sentences, warnings, text, HTML and JSON."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from upstairs.cards import Card
from upstairs.errors import UpstairsError
from upstairs.evaluation.cases import Episode, draw_episode, fit_blind, fit_whole
from upstairs.evaluation.folds import Fold
from upstairs.evaluation.losses import Findings
from upstairs.evaluation.overfitting import overfitting
from upstairs.evaluation.rounds import Question
from upstairs.evaluation.tables import calibration, scores, summary, task_errors
from upstairs.evaluation.task_curve import task_curve
from upstairs.evaluation.transfer import OWN, negative_transfer
from upstairs.evaluation.value import value_curve
from upstairs.evaluation.words import sentences, sentences_by_topic, warnings_of
from upstairs.frames import make_table, table_kind
from upstairs.json_types import plain_json
from upstairs.report.findings import find
from upstairs.report.render import render
from upstairs.wording import Noun, number

__all__ = ["Asked", "Evaluation"]


class Asked(NamedTuple):
    """How the findings came about.

    Attributes
    ----------
    question : Question
    own : dict of name -> meta-learner
        Those of the user, without baselines.
    folds : list of Fold
    left_out : list of int
        Numbers of shots that no task can give.
    cautions : list of str
        About the rows: what was left out of a store, and columns that give something away.
    noun : Noun
    target : str
        Name of y.
    in_time : bool
        Whether the support is before the query in time.
    n_jobs : int or None
    seed : int
    fitted : dict of (name, fold) -> fitted meta-learner
        Those of the user's own that were kept, or that were fitted again since.
    """

    question: Question
    own: dict[str, Any]
    folds: list[Fold]
    left_out: list[int]
    cautions: list[str]
    noun: Noun
    target: str
    in_time: bool
    n_jobs: int | None
    seed: int
    fitted: dict[tuple[str, int], Any]


class Evaluation:
    """How good meta-learners are on unseen tasks, by number of rows seen of them.

    Made by `upstairs.evaluate`. Tables are of the kind that X was (pandas, polars, Arrow), else dicts of arrays. Errors are on
    the scale of y, over all query rows; the standard errors (``_se``) take tasks as what was drawn.

    Attributes
    ----------
    scores : table
        ``learner, shots, fold, n_tasks, n_rows, error, error_se, relative_error``; for numbers ``crps, coverage, width`` (of
        the 90 % interval), for classes ``accuracy``, each with its ``_se``; ``fit_seconds, adapt_seconds``. The relative error
        is the loss over that of the mean (or the frequencies) of meta-train: for rmse the normalised mean squared error.
    tasks : table
        ``learner, shots, fold, task, n_rows, error``: the error on each unseen task.
    calibration : table
        Numbers: ``learner, shots, nominal, observed, observed_se``, the coverage of intervals. Classes: ``learner, shots,
        predicted, observed, observed_se, n_rows``, by bin of the predicted probability.
    overfitting : table
        ``learner, shots, support_error, query_error, known_error, unseen_error`` and their ``_se``: within tasks, the rows that
        were adapted to beside others; across tasks, the same rows with their task known (from its other rows) and unseen.
    warnings : list of str
        What makes all this less than it seems: columns that give task or target away, few tasks, few rows.
    learners : list of str
        Those asked for, then the baselines.
    metric : str
        What ``error`` is.
    task_noun : str
        What a task is called: the name of the groups column.
    task_nouns : str
        Several of them.
    task_names : list
        The user's name of each task.
    target : str
        The name of y.
    in_time, prefit : bool
        Whether the support is before the query in time; whether the meta-learners came fitted.

    Examples
    --------
    See `upstairs.evaluate`.
    """

    def __init__(self, findings: Findings, asked: Asked):
        self._findings, self._asked = findings, asked
        self._curve: dict[str, list] | None = None
        self.learners, self.metric, self.shots = list(findings.learners), findings.metric.words, findings.shots
        self.own_learners = list(asked.own)
        self.task_noun, self.task_nouns = asked.noun
        self.task_names, self.target = findings.ids.tolist(), asked.target
        self.n_folds = len(asked.folds)
        self.in_time = asked.in_time
        self.prefit = not len(asked.folds[0].learned)
        sizes = np.bincount(asked.question.draw.task)
        self.warnings = warnings_of(findings, asked.noun, sizes, asked.left_out, asked.cautions)

    @cached_property
    def scores(self) -> Any:
        return self._table(scores(self._findings))

    @cached_property
    def tasks(self) -> Any:
        return self._table(task_errors(self._findings))

    @cached_property
    def calibration(self) -> Any:
        return self._table(calibration(self._findings))

    @cached_property
    def overfitting(self) -> Any:
        return self._table(overfitting(self._findings))

    def summary(self) -> Any:
        """The scores over all folds, by learner and shots; ``calibration`` is the mean gap between promised and observed."""
        return self._table(self._summary)

    def value_curve(self) -> Any:
        """What rows are worth.

        Returns
        -------
        table : learner, shots, error, error_se, share
            The share of what the most shots gain over the fewest; NaN where they gain nothing.
        """
        return self._table(value_curve(self._findings))

    def negative_transfer(self) -> Any:
        """Where learning across tasks did harm.

        Returns
        -------
        table : learner, shots, n_tasks, share, share_se, tasks
            The share of unseen tasks on which a model of their support alone (the baseline ``task-ridge``) has the lower error,
            and which they are, the worst first.
        """
        return self._table(negative_transfer(self._findings))

    def task_curve(self, shares: Sequence[float] = (0.25, 0.5), n_jobs: int | None = None) -> Any:
        """The error on unseen tasks by the number of tasks learned from. This fits anew: shares × folds × learners.

        Parameters
        ----------
        shares : sequence of float in (0, 1), default=(0.25, 0.5)
            Parts of each fold's meta-train tasks; all of them are known already.
        n_jobs : int, optional
            As in `upstairs.evaluate`, whose number it is by default.

        Returns
        -------
        table : learner, n_tasks, shots, error, error_se
            Of the meta-learners that were asked for, not of the baselines. `sentences` speaks of it from now on.
        """
        asked = self._asked
        if self.prefit:
            raise UpstairsError('task_curve fits on fewer tasks, but these meta-learners came fitted (cv="prefit"). Use folds.')
        n_jobs = asked.n_jobs if n_jobs is None else n_jobs
        self._curve = task_curve(asked.question, asked.own, asked.folds, self._findings, shares, n_jobs, asked.seed)
        return self._table(self._curve)

    def sentences(self) -> list[str]:
        """What was found, in words; after `task_curve`, also what more tasks would bring."""
        return sentences(self._findings, len(self._asked.own), self._asked.noun, self._curve)

    def sentences_by_topic(self, learner: str | None = None) -> dict[str, str]:
        """What was found of one of the meta-learners asked for, by default the first: a sentence for each topic."""
        at = self.learners.index(self._own(learner))
        return sentences_by_topic(self._findings, len(self._asked.own), at, self._asked.noun, self._curve)

    def episode(self, task: Any, shots: int) -> Episode:
        """The rows that an unseen task showed at this number of shots, and those that were asked about.

        Returns
        -------
        episode : Episode
            ``X_support, y_support, X_query, y_query``, as `TaskPredictionDisplay.from_estimator` takes them.
        """
        return draw_episode(self._asked.question, task, shots)

    def unseen_model(self, task: Any, learner: str | None = None) -> Any:
        """A fitted meta-learner that never saw this task: that of its fold, which is fitted anew unless it was kept.

        Parameters
        ----------
        task : the user's name of a task
        learner : str, optional
            One of ``own_learners``; by default the first.
        """
        asked = self._asked
        return fit_blind(asked.question, asked.own, asked.folds, asked.fitted, self._own(learner), task)

    def to_html(self, model: Any = None, *, learner: str | None = None, progress: Callable[[str], None] | None = None) -> str:
        """A report for a person who is not a statistician, as one page of HTML that needs no network (extra ``report``).

        It shows six unseen tasks with the meta-learners of their folds, and these are fitted anew unless ``evaluate`` was asked
        to ``return_estimator``.

        Parameters
        ----------
        model : fitted meta-learner, optional
            Of which it is told what drives it, and which of its known tasks are odd. By default ``learner`` is fitted once
            more, on all rows.
        learner : str, optional
            One of ``own_learners``, which the report is about; by default the first.
        progress : callable, optional
            It is told the name of each step.

        Returns
        -------
        html : str

        Examples
        --------
        >>> from pathlib import Path
        >>> Path("report.html").write_text(result.to_html(), encoding="utf-8")  # doctest: +SKIP
        """
        asked, learner = self._asked, self._own(learner)
        if model is None:
            model = fit_whole(asked.question, asked.own[learner], asked.folds)
        return render(find(self, model, asked.question.rows.X, learner=learner, progress=progress))

    def to_dict(self) -> dict[str, Any]:
        """Every number, sentence and warning as plain JSON types (None for NaN); tables are dicts of equally long lists."""
        findings = self._findings
        found = {
            "metric": self.metric,
            "predicts": "classes" if findings.metric.classes else "numbers",
            "task_noun": self.task_noun,
            "n_tasks": len(findings.ids),
            "n_rows": len(self._asked.question.draw.task),
            "n_folds": self.n_folds,
            "shots": list(self.shots),
            "learners": self.learners,
            "own_learners": self.own_learners,
            "errors": self.errors(),
            "summary": self._summary,
            "scores": scores(findings),
            "tasks": task_errors(findings),
            "calibration": calibration(findings),
            "overfitting": overfitting(findings),
            "value_curve": value_curve(findings),
            "negative_transfer": negative_transfer(findings) if OWN in self.learners else None,
            "task_curve": self._curve,
            "sentences": self.sentences(),
            "warnings": self.warnings,
        }
        return {name: plain_json(value) for name, value in found.items()}

    def errors(self, column: str = "error") -> dict[str, list[float]]:
        """A column of `summary`, by learner a value for each number of shots."""
        table = self._summary
        rows = list(zip(table["learner"], table[column], strict=True))
        return {learner: [value for name, value in rows if name == learner] for learner in self.learners}

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _card(self) -> Card:
        table = [["rows seen", *map(str, self.shots)], *self._cells()]
        return Card(self._title(), table=table, sentences=self.sentences(), warnings=self.warnings)

    def _own(self, learner: str | None) -> str:
        if learner is not None and learner not in self.own_learners:
            raise UpstairsError(f"learner={learner!r} was not asked for; there are {', '.join(self.own_learners)}.")
        return learner or self.own_learners[0]

    def _title(self) -> str:
        many, folds = self._asked.noun.many, f"{self.n_folds} folds" if self.n_folds > 1 else "one split"
        return (
            f"{self.metric.capitalize()} on {len(self._findings.ids)} unseen {many} in {folds} (± standard error over {many})"
        )

    def _cells(self) -> list[list[str]]:
        errors, se = self.errors(), self.errors("error_se")
        return [
            [name, *(f"{number(e)} ± {number(s, 2)}" for e, s in zip(errors[name], se[name], strict=True))]
            for name in self.learners
        ]

    @cached_property
    def _summary(self) -> dict[str, list]:
        return summary(self._findings)

    def _table(self, columns: dict[str, list]) -> Any:
        return make_table(columns, table_kind(self._asked.question.rows.X))
