"""Obsvty: from plain OTLP to the commit that broke it.

    import obsvty
    obs = obsvty.open("data-dir")
    inv = obs.investigate()

Names are loaded on first use, so that `import obsvty` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obsvty.context import count_tokens
    from obsvty.errors import ObsvtyError
    from obsvty.model import Incident, Investigation, Window
    from obsvty.notebook.magics import load_ipython_extension
    from obsvty.pages import (
        brief,
        differences_page,
        incident_line,
        incident_row,
        overview_page,
        schema_page,
        service_map_page,
        suspects_page,
        trace_page,
    )
    from obsvty.session import Session
    from obsvty.session import open_session as open  # noqa: A004 the contract's name
    from obsvty.settings import Settings, load_settings
    from obsvty.web import is_loopback

__version__ = "0.1.0"

_HOME = {
    "Incident": "obsvty.model",
    "Investigation": "obsvty.model",
    "ObsvtyError": "obsvty.errors",
    "Session": "obsvty.session",
    "Settings": "obsvty.settings",
    "Window": "obsvty.model",
    "is_loopback": "obsvty.web",
    "load_ipython_extension": "obsvty.notebook.magics",
    "load_settings": "obsvty.settings",
    "brief": "obsvty.pages",
    "count_tokens": "obsvty.context",
    "differences_page": "obsvty.pages",
    "incident_line": "obsvty.pages",
    "incident_row": "obsvty.pages",
    "open": "obsvty.session:open_session",
    "overview_page": "obsvty.pages",
    "schema_page": "obsvty.pages",
    "service_map_page": "obsvty.pages",
    "suspects_page": "obsvty.pages",
    "trace_page": "obsvty.pages",
}

__all__ = [
    "Incident",
    "Investigation",
    "ObsvtyError",
    "Session",
    "Settings",
    "Window",
    "__version__",
    "brief",
    "count_tokens",
    "differences_page",
    "incident_line",
    "incident_row",
    "is_loopback",
    "load_ipython_extension",
    "load_settings",
    "open",
    "overview_page",
    "schema_page",
    "service_map_page",
    "suspects_page",
    "trace_page",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'obsvty' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return __all__
