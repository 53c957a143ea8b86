"""Formulas as MathML, which browsers draw by themselves: no script, and nothing to load from anywhere."""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.util.math import get_node_equation_number

__all__ = ["setup"]


def setup(app) -> dict:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def visit_inline(writer, node) -> None:
    writer.body.append(as_mathml(node.astext(), display=False))
    raise nodes.SkipNode


def visit_display(writer, node) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node.get("number"):
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append(as_mathml(node.astext(), display=True) + "</div>\n")
    raise nodes.SkipNode


def as_mathml(tex: str, display: bool) -> str:
    return latex2mathml.tex2mathml(tex, as_block=display)
