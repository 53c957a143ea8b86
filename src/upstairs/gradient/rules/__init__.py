"""The inner rules by name: a new rule is a new file and a line here."""

from upstairs.gradient.rules import anil, bayes, fomaml, maml, metasgd, reptile

__all__ = ["RULES"]

RULES = {
    "bayes": bayes.RULE,
    "maml": maml.RULE,
    "fomaml": fomaml.RULE,
    "metasgd": metasgd.RULE,
    "anil": anil.RULE,
    "reptile": reptile.RULE,
}
