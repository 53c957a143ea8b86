"""How `make docs` makes a site of docs/, examples/ and the docstrings.

Sphinx reads the whole repository as its source, so that a link leads to the same page here as on a code host; which files are
pages is listed below.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import upstairs  # noqa: E402

project, author, version = "Upstairs", "the authors of Upstairs", upstairs.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "literal_equations",
]

root_doc = "docs/index"
include_patterns = ["docs/**", "benchmarks/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = ["docs/templates", "docs/static", "**/.venv", "build", "**/.*_cache", "**/*.ipynb"]
templates_path = [str(HERE / "templates")]  # autosummary would look for it beside the source, the rest beside this file
html_static_path = ["static"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"  # shapes and units stand in the docstrings
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "docs/gallery",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": None,
    "doc_module": ("upstairs",),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "capture_repr": ("_repr_html_", "__repr__"),
}

html_theme = "pydata_sphinx_theme"
html_title, html_css_files, html_extra_path = "Upstairs", ["site.css"], ["site"]
html_favicon = html_logo = "static/upstairs.svg"
html_show_sourcelink, html_copy_source, html_show_copyright = False, False, False
html_sidebars = {"docs/index": []}
html_theme_options = {
    "logo": {"text": "Upstairs"},
    "navbar_align": "left",
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["sphinx-version"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}


def setup(app) -> None:
    app.connect("source-read", link_to_gallery)
    app.connect("autodoc-skip-member", leave_out_routing)


def link_to_gallery(app, docname: str, source: list[str]) -> None:
    """On a code host a page links to an example's file; here to what the gallery made of it."""
    source[0] = source[0].replace("](../examples/README.rst)", "](gallery/index.rst)")
    source[0] = re.sub(r"\]\(\.\./examples/(plot_\w+)\.py\)", r"](gallery/\1.rst)", source[0])


def leave_out_routing(app, what: str, name: str, obj, skip: bool, options) -> bool | None:
    """scikit-learn gives each estimator a method for each argument that can be routed; its own pages tell of them."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None
