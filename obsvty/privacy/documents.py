"""Notebooks (nbformat JSON) through the sanitizer, without breaking what makes them notebooks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Final

from obsvty.model import JsonObject, JsonValue
from obsvty.privacy.sanitizer import Sanitizer

_BINARY: Final = re.compile(r"(?:image/(?!svg)|audio/|video/|font/|application/pdf)")
_FIXED_KEYS: Final = frozenset(
    {
        "cell_type", "output_type", "nbformat", "nbformat_minor", "kernelspec", "language_info", "id",
        "execution_count", "model_id", "model_module", "model_module_version", "model_name",
        "_model_module", "_model_module_version", "_model_name", "_view_module", "_view_module_version",
        "_view_name", "_view_count", "_anywidget_id", "version_major", "version_minor", "mimetype",
        "encoding", "tags", "collapsed", "scrolled", "_esm", "_css", "_dom_classes",
    }
)  # fmt: skip
_TEXT_KEYS: Final = frozenset({"source", "text", "traceback"})
_GENERATED: Final = re.compile(r"(?:text/html|application/javascript|image/svg\+xml)")


def sanitize(sanitizer: Sanitizer, content: JsonObject) -> dict[str, JsonValue]:
    """The document with every string sanitized; ids, media types, kernel names and images as they were."""
    return _mapping(sanitizer, content)


def findings(sanitizer: Sanitizer, content: JsonObject) -> Mapping[str, int]:
    """What would still be replaced in a notebook that should be clean: kind -> count."""
    before = sanitizer.redactions
    sanitize(sanitizer, content)
    after = sanitizer.redactions
    return {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] > before.get(kind, 0)}


def _mapping(sanitizer: Sanitizer, raw: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    out: dict[str, JsonValue] = {}
    for key, value in raw.items():
        if key in _FIXED_KEYS or _BINARY.match(key):
            out[key] = value
        elif key in _TEXT_KEYS or "/" in key:
            out[key] = _text(sanitizer, value, entropy=not _GENERATED.match(key))
        elif key in {"buffers"}:
            out[key] = _buffers(sanitizer, value)
        else:
            out[sanitizer.text(key)] = _value(sanitizer, value, key)
    return out


def _value(sanitizer: Sanitizer, raw: JsonValue, name: str) -> JsonValue:
    if isinstance(raw, str):
        cleaned = sanitizer.attrs({name: raw})
        return next(iter(cleaned.values()))
    if isinstance(raw, Mapping):
        return _mapping(sanitizer, raw)
    if isinstance(raw, Sequence):
        return [_value(sanitizer, item, name) for item in raw]
    return raw if isinstance(raw, bool) or raw is None else sanitizer.value(raw)


def _buffers(sanitizer: Sanitizer, raw: JsonValue) -> JsonValue:
    """Binary widget state (base64). Bytes cannot be rewritten, so a buffer in which a value can be read is emptied."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        return sanitizer.value(raw)
    out: list[JsonValue] = []
    for buffer in raw:
        if isinstance(buffer, Mapping):
            data = buffer.get("data")
            kept = isinstance(data, str) and not sanitizer.findings(_readable(data), entropy=False)
            out.append({**buffer, "data": data if kept else ""})
    return out


def _readable(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return data


def _text(sanitizer: Sanitizer, raw: JsonValue, *, entropy: bool) -> JsonValue:
    """A text, or nbformat's list of lines: these are scanned as one text and split again."""
    if isinstance(raw, str):
        return sanitizer.document(raw, entropy=entropy)
    if isinstance(raw, Sequence) and all(isinstance(line, str) for line in raw):
        whole = sanitizer.document("".join(str(line) for line in raw), entropy=entropy)
        return list(whole.splitlines(keepends=True))
    return _mapping(sanitizer, raw) if isinstance(raw, Mapping) else sanitizer.value(raw)
