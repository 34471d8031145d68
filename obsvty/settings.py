"""Arguments > `OBSVTY_*` environment > `obsvty.toml` > defaults. Every default runs with no file, key or network."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from obsvty.errors import SettingsError

CONFIG_FILE = "obsvty.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSettings(_Section):
    """`[store]`: where telemetry is kept, and how much of it."""

    dir: Path | None = None
    retention_days: Annotated[float, Field(gt=0)] = 14
    max_gb: Annotated[float, Field(gt=0)] = 50


class ReceiverSettings(_Section):
    """`[receiver]`: where OTLP comes in. The token comes from the environment."""

    grpc: str = "127.0.0.1:4317"
    http: str = "127.0.0.1:4318"
    token: SecretStr | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    max_message_mb: Annotated[int, Field(gt=0)] = 64
    cors_origins: tuple[str, ...] = ()


class WatchSettings(_Section):
    """`[watch]`: the loop that looks for incidents."""

    enabled: bool = True
    interval_s: Annotated[float, Field(gt=0)] = 15
    ignore_services: tuple[str, ...] = ()


class ServiceRepository(_Section):
    """`[git.services.NAME]`: which repository, and which folder in it, a service is built from."""

    repo: str = ""
    path: str = ""


class GitSettings(_Section):
    """`[git]`: where the code is. The token comes from the environment."""

    provider: str = "local"
    repo: str = ""
    base_url: str = ""
    token: SecretStr | None = None
    services: dict[str, ServiceRepository] = {}


class LLMSettings(_Section):
    """`[llm]`: who writes the insight. The key comes from the environment."""

    engine: str = "offline"
    base_url: str = ""
    model: str = ""
    timeout_s: Annotated[float, Field(gt=0)] = 60
    max_tokens: Annotated[int, Field(gt=0)] = 1024
    offline: bool = False
    api_key: SecretStr | None = None


class SlackSettings(_Section):
    """`[alerts.slack]`. The token comes from the environment."""

    channel: str = ""
    base_url: str = ""
    token: SecretStr | None = None
    webhook_url: SecretStr | None = None


class AlertSettings(_Section):
    """`[alerts]`: where alerts go, and how sure they must be."""

    to: tuple[str, ...] = ("log",)
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    slack: SlackSettings = SlackSettings()


class PrivacySettings(_Section):
    """`[privacy]`: rules beside the built-in ones. An allow entry never disables a detector."""

    rules: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    extra: dict[str, str] = {}


class DocsSettings(_Section):
    """`[docs]`: where generated pages go."""

    dir: Path = Path("docs/generated")


class McpSettings(_Section):
    """`[mcp]`: MCP over HTTP inside `obsvty serve`, beside /healthz and /readyz."""

    http: str = "127.0.0.1:4319"
    token: SecretStr | None = None


class Settings(BaseSettings):
    """All of them. Build with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="OBSVTY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    store: StoreSettings = StoreSettings()
    receiver: ReceiverSettings = ReceiverSettings()
    watch: WatchSettings = WatchSettings()
    git: GitSettings = GitSettings()
    llm: LLMSettings = LLMSettings()
    alerts: AlertSettings = AlertSettings()
    privacy: PrivacySettings = PrivacySettings()
    docs: DocsSettings = DocsSettings()
    mcp: McpSettings = McpSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @property
    def data_dir(self) -> Path:
        """`[store] dir`, else `OBSVTY_DATA_DIR`, else the platform's user data folder."""
        chosen = self.store.dir or os.environ.get("OBSVTY_DATA_DIR")
        return Path(chosen) if chosen else Path(platformdirs.user_data_dir("obsvty", appauthor=False))


def load_settings(config: Path | None = None, **overrides: object) -> Settings:
    """Settings from arguments, environment and file.

    Args:
        config: the TOML file; default `obsvty.toml` in the working folder, which need not exist.
        overrides: sections as dictionaries, e.g. `store={"dir": path}`; the strongest source.

    Raises:
        SettingsError: an unknown key, a value out of range, a secret in the file, or a named file that is not there.
    """
    path = config or Path(CONFIG_FILE)
    if config is not None and not config.is_file():
        raise SettingsError(f"There is no settings file {config}.", hint="Check --config.")
    try:
        if path.is_file():
            _refuse_secrets(tomllib.loads(path.read_text(encoding="utf-8")), path)
        return _settings_with(path)(**overrides)  # pyright: ignore[reportArgumentType] sections are validated by pydantic
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{path} is not valid TOML: {exc}.") from exc
    except ValidationError as exc:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise SettingsError(
            f"A setting is wrong: {where}.", hint="docs/settings.md lists every key."
        ) from exc


def _settings_with(path: Path) -> type[Settings]:
    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    return FromFile


_SECRETS = {"token", "api_key", "webhook_url"}


def _refuse_secrets(table: dict[str, object], path: Path, prefix: str = "") -> None:
    """A secret in a file ends up in a repository; the environment is the only source for them."""
    for key, value in table.items():
        if key in _SECRETS:
            name = "OBSVTY_" + (prefix + key).replace(".", "__").upper()
            raise SettingsError(
                f"{path} holds the secret {prefix}{key}.", hint=f"Set {name} in the environment."
            )
        if isinstance(value, dict):
            _refuse_secrets(value, path, f"{prefix}{key}.")
