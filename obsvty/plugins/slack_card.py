"""An alert as Slack blocks: one screen, verdict first, and no text that Slack could refuse or read as a command."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obsvty.model import Alert

# Slack allows 150 for a header, 3,000 a section, 2,000 a field, 75 a button and about 13,200 in all (undocumented);
# one screen needs far less, and the sum of these stays below 3,500.
_HEADER = 150
_SUMMARY = 600
_WHY = 800
_FIX = 600
_FIELDS = 6
_LABEL = 40
_VALUE = 130
_FOOTER = 200
_BUTTONS = 3
_BUTTON = 40
_URL = 300
_TEXT = 1500

_MARKS = {
    "action_required": "\N{FIRE} Action required",
    "action_suggested": "\N{HAMMER AND WRENCH} Action suggested",
    "resolved": "\N{WHITE HEAVY CHECK MARK} Resolved",
    "inconclusive": "\N{BLACK QUESTION MARK ORNAMENT} Inconclusive",
}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def card(alert: Alert) -> Sequence[dict[str, object]]:
    """At most 7 blocks, each within Slack's limits whatever the alert holds."""
    blocks: list[dict[str, object]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _plain(_title(alert), _HEADER), "emoji": False},
        }
    ]
    for label, text, limit in (
        ("", alert.summary, _SUMMARY),
        ("Why", alert.why, _WHY),
        ("Fix", alert.fix, _FIX),
    ):
        shown = escape(text, limit)
        if shown:
            blocks.append({"type": "section", "text": _mrkdwn(f"*{label}:* {shown}" if label else shown)})
    fields = [
        _mrkdwn(f"*{escape(label, _LABEL)}*\n{escape(value, _VALUE)}")
        for label, value in alert.fields
        if escape(label, _LABEL) and escape(value, _VALUE)
    ][:_FIELDS]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    buttons, places = _links(alert)
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    footer = escape(" \N{MIDDLE DOT} ".join(x for x in (alert.footer, *places) if x), _FOOTER)
    if footer:
        blocks.append({"type": "context", "elements": [_mrkdwn(footer)]})
    return blocks


def fallback_text(alert: Alert) -> str:
    """What a phone shows, and clients without blocks; complete enough to act on."""
    return escape(f"{_title(alert)}\n{alert.text}", _TEXT)


def escape(text: str, limit: int) -> str:
    """Untrusted text for Slack: no mention, no link and no control character survives, and it fits into `limit`.

    Counted in UTF-16 units, after escaping, so that no entity is ever cut in two; what is cut ends in an ellipsis.
    """
    return _fit(_clean(text[: 4 * limit]), limit, _ENTITIES)


def _plain(text: str, limit: int) -> str:
    return _fit(" ".join(_clean(text[: 4 * limit]).split()), limit, {})


def _fit(text: str, limit: int, entities: dict[str, str]) -> str:
    shown: list[str] = []
    used = 0
    cut = -1  # length of `shown` that leaves room for the ellipsis
    for character in text:
        piece = entities.get(character, character)
        size = len(piece.encode("utf-16-le")) // 2
        if cut < 0 and used + size > limit - 1:
            cut = len(shown)
        used += size
        if used > limit:
            return "".join(shown[:cut]) + "\N{HORIZONTAL ELLIPSIS}"
        shown.append(piece)
    return "".join(shown)


def _clean(text: str) -> str:
    """Without control, bidirectional-override and surrogate characters, which would hide or reorder what is read."""
    kept = (c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else " " for c in text)
    return "\n".join(" ".join(line.split()) for line in "".join(kept).strip().split("\n"))


def _title(alert: Alert) -> str:
    return f"{_MARKS[alert.mark]}: {alert.title}"


def _mrkdwn(text: str) -> dict[str, object]:
    return {
        "type": "mrkdwn",
        "text": text,
        "verbatim": True,
    }  # verbatim: Slack turns no @name, #name or URL into a link


def _links(alert: Alert) -> tuple[list[dict[str, object]], list[str]]:
    """Buttons for web addresses, words for everything else, such as the path of a notebook."""
    buttons: list[dict[str, object]] = []
    places: list[str] = []
    for label, target in alert.links:
        text = _plain(label, _BUTTON)
        if text and _is_web(target) and len(buttons) < _BUTTONS:
            buttons.append(
                {
                    "type": "button",
                    "text": {"type": "plain_text", "text": text, "emoji": False},
                    "url": target,
                    "action_id": f"open_{len(buttons)}",
                    "value": _plain(alert.incident_id, 100),
                }
            )
        elif text and not _is_web(target):
            places.append(f"{text}: {target}")
    return buttons, places


def _is_web(target: str) -> bool:
    if (
        len(target) > _URL
        or not target.isascii()
        or any(c in target for c in " <>|\"'`\\")
        or not target.isprintable()
    ):
        return False
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
