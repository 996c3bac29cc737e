"""Configuration of the documentation."""

import re
import warnings

import skmixed

project = "skmixed"
author = "The skmixed developers"
copyright = "2026, The skmixed developers"
version = release = skmixed.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skmixed"
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}
html_sidebars = {"quickstart": [], "api": []}
# What an example warns of is shown by the example where it matters.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")


def mend_types(app, what, name, obj, options, lines):
    """Make types of parameters readable for docutils.

    A type continued with a backslash, which Python leaves in raw docstrings, becomes one
    line, and a fitted attribute in a shape, as in ``(n_features_in_,)``, a literal; its last
    underscore would be a reference.
    """
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    lines[:] = re.sub(r"\((\w+_),\)", r"(``\1``,)", text).split("\n")


def setup(app):
    """Register what is done to docstrings before numpydoc reads them."""
    app.connect("autodoc-process-docstring", mend_types, priority=100)
