"""Configuration of the documentation."""

import re
import sys
import warnings
from pathlib import Path

import numpydoc.xref

import skmixed

# Modules of this folder: order of the gallery, formulas, page of changes.
sys.path.insert(0, str(Path(__file__).parent))

project = "skmixed"
author = "The skmixed developers"
copyright = "2026, The skmixed developers"
version = release = skmixed.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "matplotlib.sphinxext.plot_directive",
    "changelog",
    "mathml",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# Every link is checked. Words in single backticks are names, and links where there is a page; names
# with a dot are links always, but for methods of matplotlib's axes.
nitpicky = True
nitpick_ignore_regex = [("py:obj", r"[^.]*|Axes\..*")]
# The site is built without a network: inventories/refresh.py says how these are kept.
intersphinx_mapping = {
    name: (address, f"inventories/{name}.inv")
    for name, address in {
        "numpy": "https://numpy.org/doc/stable",
        "pandas": "https://pandas.pydata.org/docs",
        "polars": "https://docs.pola.rs/api/python/stable",
        "scikit-learn": "https://scikit-learn.org/stable",
    }.items()
}
exclude_patterns = ["_build", "inventories"]
templates_path = ["_templates"]
default_role = "py:obj"
extlinks = {"doi": ("https://doi.org/%s", "doi:%s")}

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Types of parameters and results link to the pages of the projects that they belong to.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc.xref.DEFAULT_LINKS.clear()  # int, str, None and other words of Python itself
numpydoc_xref_aliases = {
    "DataFrame": "pandas.DataFrame",
    "Series": "pandas.Series",
    "ndarray": "numpy.ndarray",
    "Generator": "numpy.random.Generator",
    "RandomState": "numpy.random.RandomState",
    "Bunch": "sklearn.utils.Bunch",
}

# Code blocks that draw: shown with the picture, without links to its files.
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 120)]
plot_rcparams = {"savefig.bbox": "tight"}
plot_apply_rcparams = True

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "within_subsection_order": "gallery_order.by_lesson",
    # Every page of the API ends with the examples that use the name.
    "backreferences_dir": "generated/gallery",
    "doc_module": ("skmixed",),
    "abort_on_example_error": True,
    "show_memory": False,
    "write_computation_times": False,  # its page loads scripts from elsewhere
    "download_all_examples": False,
}

# Copies of code are without prompts and without output.
copybutton_exclude = ".linenos, .gp, .go"

toc_object_entries_show_parents = "hide"
html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "skmixed"
html_favicon = "_static/favicon.svg"
html_theme_options = {
    "logo": {
        "text": "skmixed",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo-dark.svg",
        "alt_text": "",
    },
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_static_path = ["_static"]
html_css_files = ["skmixed.css"]
html_sidebars = {"quickstart": [], "generated/changelog": []}
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
