"""The whole tree of errors. Nothing else reaches a caller of `obsvty`.

    ObsvtyError                     exit code 1
    ├── UsageError                  exit code 2: the call or the settings are wrong
    │   ├── SettingsError           a setting is missing, misspelt or out of range
    │   ├── PluginNotFound          no plug-in of that name is installed
    │   ├── UnknownIncident         no incident has that id
    │   └── UnknownTrace            no stored trace or span has that id
    ├── NothingFound                exit code 3: asked, and there was nothing to find
    ├── OtlpError                   bytes that are not OTLP
    ├── QueryError                  SQL that is wrong, not read-only, or outside the sandbox
    ├── StoreError                  the data folder cannot be read or written
    │   ├── StoreLocked             another process is the writer of this data folder
    │   └── StoreOverloaded         too many bytes are waiting to be written; try again
    ├── ReceiverError               a port is taken, a certificate cannot be read
    ├── RepositoryError             git said no
    │   ├── RepositoryMissing       there is no repository where the settings say
    │   └── RevisionUnknown         the repository does not hold that revision
    ├── EngineError                 the model did not answer, or not usably
    ├── AlertError                  the alert was not delivered
    ├── DocumentError               a notebook or report could not be made
    ├── TooFewPoints                a window holds too little data to compare
    └── EgressBlocked               the gate refused to let something leave

A message says what failed; `hint` says what to do next. Neither ever holds a telemetry value, a diff or a token:
a model may read it.
"""

from typing import ClassVar


class ObsvtyError(Exception):
    """Root of the tree.

    Args:
        message: what failed, one sentence.
        hint: what to do next, one sentence or a command.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(ObsvtyError):
    """The call or the settings are wrong; nothing was done."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing, misspelt or out of range."""


class PluginNotFound(UsageError):
    """No plug-in of that name is installed."""


class UnknownIncident(UsageError):
    """No incident has that id."""


class UnknownTrace(UsageError):
    """No stored trace or span has that id."""


class NothingFound(ObsvtyError):
    """Asked, and there was nothing to find."""

    exit_code = 3


class OtlpError(ObsvtyError):
    """Bytes that are not OTLP."""


class QueryError(ObsvtyError):
    """SQL that is wrong, not read-only, or outside the sandbox."""


class StoreError(ObsvtyError):
    """The data folder cannot be read or written."""


class StoreLocked(StoreError):
    """Another process is the writer of this data folder."""


class StoreOverloaded(StoreError):
    """Too many bytes are waiting to be written; the sender should try again."""


class ReceiverError(ObsvtyError):
    """A port is taken, or a certificate cannot be read."""


class RepositoryError(ObsvtyError):
    """Git said no."""


class RepositoryMissing(RepositoryError):
    """There is no repository where the settings say."""


class RevisionUnknown(RepositoryError):
    """The repository does not hold that revision."""


class EngineError(ObsvtyError):
    """The model did not answer, or not usably."""


class AlertError(ObsvtyError):
    """The alert was not delivered."""


class DocumentError(ObsvtyError):
    """A notebook or report could not be made."""


class TooFewPoints(ObsvtyError):
    """A window holds too little data to compare."""


class EgressBlocked(ObsvtyError):
    """The gate refused to let something leave."""
