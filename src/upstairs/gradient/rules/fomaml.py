"""First-order MAML: as MAML, with the inner gradients taken for constants (Finn et al. 2017, section 5.2)."""

from upstairs.gradient.rules.descent import SLOW, init, make_adapt, make_loss, predict, split
from upstairs.gradient.rules.rule import Rule

__all__ = ["RULE"]

adapt = make_adapt(first_order=True)
RULE = Rule(init, adapt, predict, make_loss(adapt), split, SLOW)
