"""The built-in plug-ins keep the contracts that third parties are held to."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from obsvty.plugins.alert_log import LogAlertPlugin
from obsvty.plugins.alert_slack import SlackAlertPlugin
from obsvty.plugins.docs_notebook import NotebookDocGenerator
from obsvty.plugins.git_local import LocalGitProvider
from obsvty.plugins.llm_offline import OfflineEngine
from obsvty.plugins.llm_openai import OpenAIEngine
from obsvty.ports import (
    AlertConfig,
    AlertPlugin,
    DocGenerator,
    GitConfig,
    GitProvider,
    LLMConfig,
    LLMEngine,
)
from obsvty.ports.testing import (
    AlertPluginContract,
    DocGeneratorContract,
    GitProviderContract,
    KnownRepository,
    LLMEngineContract,
    LoopbackOpenAI,
    LoopbackSlack,
)


class TestOpenAIEngine(LLMEngineContract):
    def make(self, server: LoopbackOpenAI) -> LLMEngine:
        return OpenAIEngine(LLMConfig(model="m", base_url=server.base_url, max_retries=0, timeout_s=5))


class TestOfflineEngine(LLMEngineContract):
    def make(self, server: LoopbackOpenAI) -> LLMEngine:
        return OfflineEngine(LLMConfig())


class TestSlackAlerts(AlertPluginContract):
    def make(self, server: LoopbackSlack, folder: Path) -> AlertPlugin:
        return SlackAlertPlugin(
            AlertConfig(channel="#alerts", token=SecretStr(server.token), base_url=server.base_url)
        )


class TestSlackWebhook(AlertPluginContract):
    def make(self, server: LoopbackSlack, folder: Path) -> AlertPlugin:
        return SlackAlertPlugin(AlertConfig(webhook_url=SecretStr(server.webhook_url)))


class TestAlertLog(AlertPluginContract):
    def make(self, server: LoopbackSlack, folder: Path) -> AlertPlugin:
        return LogAlertPlugin(AlertConfig(folder=folder))


class TestLocalGit(GitProviderContract):
    def make(self, repository: KnownRepository) -> GitProvider:
        return LocalGitProvider(GitConfig(repository=str(repository.path)))


class TestNotebookDocuments(DocGeneratorContract):
    def make(self) -> DocGenerator:
        return NotebookDocGenerator()
