"""Finds plug-ins by entry point; built-ins come through the same door as everybody else's."""

from importlib.metadata import entry_points
from typing import TypeVar

from obsvty.errors import PluginNotFound, SettingsError
from obsvty.ports.alert import AlertPlugin
from obsvty.ports.docs import DocGenerator
from obsvty.ports.git import GitProvider
from obsvty.ports.llm import LLMEngine

_Port = TypeVar("_Port", GitProvider, LLMEngine, AlertPlugin, DocGenerator)

GROUPS: dict[type, str] = {
    GitProvider: "obsvty.git_providers",
    LLMEngine: "obsvty.llm_engines",
    AlertPlugin: "obsvty.alert_plugins",
    DocGenerator: "obsvty.doc_generators",
}


def installed(port: type[_Port]) -> dict[str, str]:
    """Name -> "module:Class" of each plug-in of a port. A name that two distributions claim raises `SettingsError`."""
    group = GROUPS[port]
    found: dict[str, str] = {}
    for point in entry_points(group=group):
        if found.setdefault(point.name, point.value) != point.value:
            raise SettingsError(
                f"Two installed packages both offer {point.name!r} in {group}.",
                hint="Uninstall one of them.",
            )
    return found


def load(port: type[_Port], name: str) -> type[_Port]:
    """The class of a plug-in.

    Raises:
        PluginNotFound: no such name, it cannot be imported, or it is not a subclass of the port.
    """
    known = ", ".join(sorted(installed(port))) or "none"
    for point in entry_points(group=GROUPS[port], name=name):
        try:
            found: object = point.load()
        except (ImportError, AttributeError) as exc:
            raise PluginNotFound(
                f"The plug-in {name!r} cannot be imported from {point.value}.",
                hint="Install what it needs, or re-install it.",
            ) from exc
        if not (isinstance(found, type) and issubclass(found, port)):
            raise PluginNotFound(f"The plug-in {name!r} is not a {port.__name__}.")
        return found
    raise PluginNotFound(
        f"No {port.__name__} is called {name!r}.",
        hint=f"Installed: {known}.",
    )
