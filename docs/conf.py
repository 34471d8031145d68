"""Sphinx: MyST pages, notebooks executed at build, no request beyond this machine."""

from importlib.metadata import version as package_version

project = "Obsvty"
author = "The Obsvty founders"
version = release = package_version("obsvty")
extensions = ["myst_nb"]
exclude_patterns = ["_build", "jupyter_execute", "generated"]
html_theme = "furo"
html_title = "Obsvty"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nitpicky = True
# text of commands and settings is literal: no dashes or quotes made of what people copy
smartquotes = False
