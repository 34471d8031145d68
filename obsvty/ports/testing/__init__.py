"""What plug-in authors test with: the contracts of the ports as pytest classes, and loopback servers.

A plug-in's test file subclasses a contract, makes the plug-in in `make`, and pytest runs the contract's tests:

    from obsvty.ports.testing import LLMEngineContract, LoopbackOpenAI

    class TestMyEngine(LLMEngineContract):
        def make(self, server: LoopbackOpenAI) -> LLMEngine:
            return MyEngine(LLMConfig(base_url=server.base_url, model="m", max_retries=0))
"""

from obsvty.ports.testing.contracts import (
    AlertPluginContract,
    DocGeneratorContract,
    GitProviderContract,
    LLMEngineContract,
)
from obsvty.ports.testing.loopback import Loopback, Received, Reply
from obsvty.ports.testing.openai import LoopbackOpenAI
from obsvty.ports.testing.repository import KnownRepository, make_repository
from obsvty.ports.testing.slack import LoopbackSlack

__all__ = [
    "AlertPluginContract",
    "DocGeneratorContract",
    "GitProviderContract",
    "KnownRepository",
    "LLMEngineContract",
    "Loopback",
    "LoopbackOpenAI",
    "LoopbackSlack",
    "Received",
    "Reply",
    "make_repository",
]
