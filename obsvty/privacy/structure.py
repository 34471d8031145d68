"""Structure inside a text: JSON parts, strings of a JSON value, pieces of a long text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from obsvty.model import JsonObject, JsonValue

MAX_VALUE_CHARS: Final = 65_536
_JSON_START: Final = re.compile(r"\{\s{0,64}[\"}]|\[\s{0,64}[\[{\"]")
_JSON_ATTEMPTS: Final = 32


def json_parts(text: str) -> Iterator[tuple[int, int, JsonValue]]:
    """Objects and arrays written in a text."""
    decoder = json.JSONDecoder()
    position = failures = 0
    while failures < _JSON_ATTEMPTS:  # each may have read to the end of the text
        match = _JSON_START.search(text, position)
        if match is None:
            return
        position = match.start() + 1
        try:
            parsed, end = cast("tuple[JsonValue, int]", decoder.raw_decode(text, match.start()))
        except (ValueError, RecursionError):
            failures += 1
            continue
        if text[match.start()] == "[" and (
            text[end : end + 1] in {"=", ".", "["} or text[match.start() - 1 : match.start()].isalnum()
        ):
            continue  # code: settings["token"] = ...
        yield match.start(), end, parsed
        position = end


def dump(value: JsonValue, written: str) -> str:
    """JSON in the style it was written in."""
    indent = re.match(r"[\[{]\r?\n([ \t]+)", written)
    compact = '": ' not in written and '", ' not in written
    return json.dumps(
        value,
        ensure_ascii="\\u" in written,
        indent=indent[1] if indent else None,
        separators=(",", ":") if compact and not indent else None,
    )


def is_structured(text: str) -> bool:
    """JSON or a form body: its parts can be told apart."""
    return (
        next(json_parts(text), None) is not None
        or re.match(r"[\w.\-\[\]%]{1,64}=[^\s]*(?:&|\Z)", text) is not None
    )


def strings(value: JsonValue) -> Iterator[str]:
    """Every string of a JSON value, keys and card-like numbers included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in cast("JsonObject", value).items():
            yield key
            yield from strings(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def cut(value: JsonValue) -> JsonValue:
    """Every string at most `MAX_VALUE_CHARS` long; what is cut off is never scanned and never leaves."""
    if isinstance(value, str):
        if len(value) <= MAX_VALUE_CHARS:
            return value
        kept = MAX_VALUE_CHARS - 64
        return f"{value[:kept]} [cut: {len(value) - kept} more characters]"
    if all(len(text) <= MAX_VALUE_CHARS for text in strings(value)):
        return value
    if isinstance(value, Mapping):
        return {key: cut(inner) for key, inner in value.items()}
    return [cut(inner) for inner in value] if isinstance(value, Sequence) else value


def cut_up(text: str) -> Iterator[str]:
    """Pieces of at most `MAX_VALUE_CHARS`, cut at line ends or blanks where there are any."""
    position = 0
    while len(text) - position > MAX_VALUE_CHARS:
        end = position + MAX_VALUE_CHARS
        cut = (
            text.rfind("\n", position + MAX_VALUE_CHARS // 2, end) + 1
            or text.rfind(" ", position + MAX_VALUE_CHARS // 2, end) + 1
        )
        end = cut or end
        yield text[position:end]
        position = end
    yield text[position:]
