"""ANIL: only the head takes gradient steps, the features stay (Raghu et al. 2020, section 4)."""

from upstairs.gradient.rules.descent import SLOW, init, make_adapt, make_loss, predict, split
from upstairs.gradient.rules.rule import Rule

__all__ = ["RULE"]

adapt = make_adapt(("linear", "mean"))
RULE = Rule(init, adapt, predict, make_loss(adapt), split, SLOW)
