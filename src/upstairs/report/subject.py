"""What a report is about: an evaluation, one of its learners, and the user's own words."""

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Subject"]


class Subject(NamedTuple):
    """What every section needs.

    Attributes
    ----------
    evaluation : Evaluation
    found : dict
        All its numbers, as ``Evaluation.to_dict`` gives them.
    said : dict of topic -> sentence
        What was found of the learner in words.
    learner, target : str
    one, many : str
        What a task is called, and several of them.
    shots : list of int
    classes : bool
    """

    evaluation: Any
    found: dict[str, Any]
    said: dict[str, str]
    learner: str
    target: str
    one: str
    many: str
    shots: list[int]
    classes: bool

    @classmethod
    def of(cls, evaluation: Any, learner: str, target: str | None) -> "Subject":
        found = evaluation.to_dict()
        return cls(
            evaluation,
            found,
            evaluation.sentences_by_topic(learner),
            learner,
            target or evaluation.target,
            evaluation.task_noun,
            evaluation.task_nouns,
            found["shots"],
            found["predicts"] == "classes",
        )

    def columns(self, table: str, shots: int | None = None) -> dict[str, np.ndarray]:
        """The learner's rows of a table, of all numbers of shots or of one; what is no number is NaN."""
        columns = self.found[table]
        mine = [
            i
            for i, name in enumerate(columns["learner"])
            if name == self.learner and (shots is None or columns["shots"][i] == shots)
        ]
        return {name: _array([values[i] for i in mine]) for name, values in columns.items()}

    def task_names(self) -> dict[str, Any]:
        """The user's own names of the tasks, by what they are in JSON."""
        return {str(name): name for name in self.evaluation.task_names}


def _array(values: list) -> np.ndarray:
    if all(isinstance(value, int) for value in values):
        return np.array(values)
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array(values, float)
    array = np.empty(len(values), object)
    array[:] = values
    return array
