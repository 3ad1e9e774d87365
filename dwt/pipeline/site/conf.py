"""Sphinx's settings for the report: MyST-NB reads the notebooks, mathematics becomes MathML."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Distillation from a weak teacher"
html_title = project
extensions = ["myst_nb"]
html_theme = "furo"
html_css_files = ["report.css"]
html_static_path = ["_static"]
html_copy_source = html_show_sourcelink = html_show_sphinx = html_use_index = False
nb_execution_mode = "off"  # the pipeline has executed them
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 2
pygments_style, pygments_dark_style = "default", "github-dark"


def _math(translator, node):
    block = node.tagname == "math_block"
    markup = convert(node.astext(), display="block" if block else "inline")
    translator.body.append(f'<div class="math-block">{markup}</div>' if block else markup)
    raise SkipNode


def setup(app):
    """Write MathML, which needs neither a script nor the network, in the place of MathJax."""
    renderers = (_math, None)
    app.add_html_math_renderer("mathml", inline_renderers=renderers, block_renderers=renderers)


html_math_renderer = "mathml"
