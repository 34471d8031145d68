"""What the options before the command said, and the session that follows from them and from the command's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obsvty.session import Session
    from obsvty.settings import Settings


@dataclass
class Chosen:
    """Options that stand before the command; one command runs per process."""

    config: Path | None = None
    data: Path | None = None


chosen = Chosen()


def read_settings(data: Path | None = None) -> Settings:
    """Settings with the data folder that the command line names."""
    from obsvty.settings import load_settings

    settings = load_settings(chosen.config)
    folder = data or chosen.data
    if folder is None:
        return settings
    return settings.model_copy(update={"store": settings.store.model_copy(update={"dir": folder})})


def open_data(data: Path | None = None) -> Session:
    """The read side of the chosen data folder."""
    from obsvty.session import open_session

    return open_session(settings=read_settings(data))
