"""`obsvty sanitize`: the sanitizer on lines of text or on labelled JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from obsvty.errors import UsageError

if TYPE_CHECKING:
    from obsvty.model import JsonValue
    from obsvty.settings import PrivacySettings


def sanitize_lines(lines: Iterable[str], rules: PrivacySettings) -> dict[str, int]:
    """Print each line sanitized, all of them one incident; returns redactions by kind."""
    from obsvty.privacy.sanitizer import Sanitizer

    sanitizer = Sanitizer(allow=rules.allow, deny=rules.deny, extra=rules.extra)
    for line in lines:
        print(sanitizer.text(line.rstrip("\n")))
    return dict(sanitizer.redactions)


def sanitize_json_lines(lines: Iterable[str], rules: PrivacySettings) -> dict[str, int]:
    """Print {"output": ...} for each {"form", "input"}, each line an incident of its own; returns redactions by kind.

    Raises:
        UsageError: a line is not of that form; it is named by number and nothing after it is read.
    """
    from obsvty.privacy.sanitizer import Sanitizer

    counts: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        form, value = _case(line, number)
        sanitizer = Sanitizer(allow=rules.allow, deny=rules.deny, extra=rules.extra)
        output: JsonValue
        if form == "attrs" and isinstance(value, dict):
            output = sanitizer.attrs(cast("dict[str, JsonValue]", value))
        else:
            output = sanitizer.text(str(value))
        print(json.dumps({"output": output}, ensure_ascii=False))
        counts.update(sanitizer.redactions)
    return dict(counts)


def _case(line: str, number: int) -> tuple[str, object]:
    try:
        case = json.loads(line)
        form, value = case["form"], case["input"]
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(
            f'Line {number} is not {{"form": "text"|"attrs", "input": ...}}.',
            hint="Leave out --jsonl for plain text.",
        ) from exc
    if form not in ("text", "attrs") or (form == "attrs") != isinstance(value, dict):
        raise UsageError(f"Line {number}: form text takes a string, form attrs an object.")
    return form, value
