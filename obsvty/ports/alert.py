"""AlertPlugin: where an alert goes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from obsvty.model import Delivery
from obsvty.privacy import Egress, SanitizedAlert


@dataclass(frozen=True, kw_only=True)
class AlertConfig:
    """What a plug-in may be told. Tokens come from the environment only."""

    channel: str = ""
    token: SecretStr | None = None
    webhook_url: SecretStr | None = None
    base_url: str = ""  # of the vendor's API; empty means the vendor's own
    folder: Path | None = None  # for plug-ins that write files
    timeout_s: float = 10.0


class AlertPlugin(ABC):
    """Delivers one alert, or edits the one it delivered before.

    Constructing a plug-in does no I/O, but raises `SettingsError` when something it needs is missing (an empty token is
    a start-up error, not silence). `send` raises `AlertError` with a hint when the alert was not delivered. Exactly
    the bytes that leave are handed to `egress.record` before they are sent.
    """

    name: ClassVar[str]

    def __init__(self, config: AlertConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def destination(self) -> str:
        """URL or path that alerts go to."""

    @abstractmethod
    def send(self, alert: SanitizedAlert, *, egress: Egress) -> Delivery:
        """Post the alert; `Delivery.reference` is what `update` needs to find it again."""

    def update(self, alert: SanitizedAlert, previous: Delivery, *, egress: Egress) -> Delivery:
        """Edit a delivered alert in place. A plug-in that cannot edit posts again."""
        del previous
        return self.send(alert, egress=egress)
