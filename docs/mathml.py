"""Formulas as MathML, which browsers show without a script and without a network.

docutils translates LaTeX. The font is in _static/fonts, see _static/skmixed.css.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

# Commands that docutils does not know, or not in every place.
REPLACED = ((r"\\dots\b", r"\\ldots"), (r"\\textstyle\b", ""))


def translated(node, as_block):
    """MathML of a formula; one that docutils cannot read stops the build."""
    text = node.astext()
    for command, other in REPLACED:
        text = re.sub(command, other, text)
    try:
        return tex2mathml(text, as_block=as_block)
    except MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: {error}: {node.astext()}") from error


def visit_inline(translator, node):
    """Write a formula of a line of text."""
    translator.body.append(translated(node, as_block=False))
    raise nodes.SkipNode


def visit_displayed(translator, node):
    """Write a formula that stands alone."""
    translator.body.append(f'<div class="formula">{translated(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer, for ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_displayed, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
