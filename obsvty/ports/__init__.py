"""The four doors that others may extend: git, LLM, alerts, documents. The docstring of a port is its contract."""

from obsvty.ports.alert import AlertConfig, AlertPlugin
from obsvty.ports.docs import DocGenerator, RenderedDocument
from obsvty.ports.git import GitConfig, GitProvider
from obsvty.ports.llm import Completion, LLMConfig, LLMEngine

__all__ = [
    "AlertConfig",
    "AlertPlugin",
    "Completion",
    "DocGenerator",
    "GitConfig",
    "GitProvider",
    "LLMConfig",
    "LLMEngine",
    "RenderedDocument",
]
