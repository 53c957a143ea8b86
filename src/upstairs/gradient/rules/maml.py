"""MAML: all weights take a few gradient steps, and outer learning looks through the steps (Finn et al. 2017, algorithm 2)."""

from upstairs.gradient.rules.descent import SLOW, init, make_adapt, make_loss, predict, split
from upstairs.gradient.rules.rule import Rule

__all__ = ["RULE"]

adapt = make_adapt()
RULE = Rule(init, adapt, predict, make_loss(adapt), split, SLOW)
