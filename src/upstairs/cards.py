"""A few facts, a table and some sentences about a thing, as a notebook shows them and as plain text.

All text is escaped here, and no colour is set but the page's own, so that a card can be read on white and on black.
"""

import html
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Card"]

_STYLE = """
.upstairs-card { border-left: 3px solid #e07a1f; padding: 0.1em 0 0.1em 0.9em; margin: 0.4em 0; max-width: 60em; }
.upstairs-card p { margin: 0.3em 0; }
.upstairs-card dl { display: grid; grid-template-columns: max-content auto; gap: 0.1em 1.2em; margin: 0.3em 0; }
.upstairs-card dt { opacity: 0.75; font-weight: normal; }
.upstairs-card dd { margin: 0; overflow-wrap: anywhere; }
.upstairs-card table { border-collapse: collapse; margin: 0.5em 0; font-variant-numeric: tabular-nums; }
.upstairs-card table { font-size: inherit; color: inherit; }
.upstairs-card :is(th, td) { padding: 0.15em 0.8em 0.15em 0; text-align: right; background: none; }
.upstairs-card :is(th, td):first-child { text-align: left; }
.upstairs-card th { font-weight: normal; opacity: 0.75; }
.upstairs-card ul { margin: 0.3em 0; padding-left: 1.2em; }
"""


class Card(NamedTuple):
    """What is to be known of a thing first.

    Attributes
    ----------
    title : str
    facts : mapping of name -> what is so
    table : sequence of rows
        The first holds the headings, the first cell of each row its name.
    sentences, warnings : sequence of str
    """

    title: str
    facts: Mapping[str, str] = {}
    table: Sequence[Sequence[str]] = ()
    sentences: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def html(self) -> str:
        """As a fragment of a page."""
        facts = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(fact)}</dd>" for name, fact in self.facts.items())
        said = "".join(f"<li>{_safe(text)}</li>" for text in self.sentences)
        odd = "".join(f"<li><strong>Warning:</strong> {_safe(text)}</li>" for text in self.warnings)
        parts = [
            f"<p><strong>{_safe(self.title)}</strong></p>",
            f"<dl>{facts}</dl>" if facts else "",
            self._table_html() if self.table else "",
            f"<ul>{said}{odd}</ul>" if said or odd else "",
        ]
        return f"<style>{_STYLE}</style><div class='upstairs-card'>{''.join(parts)}</div>"

    def text(self) -> str:
        """As lines of plain text."""
        blocks = [self.title]
        width = max(map(len, self.facts), default=0)
        blocks.append("\n".join(f"{name.ljust(width)}  {fact}" for name, fact in self.facts.items()))
        widths = [max(map(len, column)) for column in zip(*self.table, strict=True)]
        blocks.append(
            "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in self.table)
        )
        blocks.append("\n".join([*self.sentences, *(f"Warning: {text}" for text in self.warnings)]))
        return "\n\n".join(filter(None, blocks))

    def _table_html(self) -> str:
        head, *body = self.table
        heads = "".join(f"<th scope='col'>{_safe(cell)}</th>" for cell in head)
        rows = "".join(
            f"<tr><th scope='row'>{_safe(name)}</th>{''.join(f'<td>{_safe(cell)}</td>' for cell in cells)}</tr>"
            for name, *cells in body
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _safe(text: object) -> str:
    return html.escape(str(text))
