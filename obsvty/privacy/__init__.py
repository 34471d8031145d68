"""Context to sanitized: the gate is the only maker of values that may leave."""

from obsvty.privacy.gate import (
    Egress,
    Gate,
    SanitizedAlert,
    SanitizedContext,
    SanitizedDocument,
    SanitizedText,
)
from obsvty.privacy.ledger import Ledger, LedgerEntry

__all__ = [
    "Egress",
    "Gate",
    "Ledger",
    "LedgerEntry",
    "SanitizedAlert",
    "SanitizedContext",
    "SanitizedDocument",
    "SanitizedText",
]
