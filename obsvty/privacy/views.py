"""Decoded views of a text, with offsets back: %xx, escapes, HTML entities, NFKC, zero width, base64, hex."""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ESCAPE: Final = re.compile(
    r"(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<hex>(?:\\x[0-9A-Fa-f]{2})+)"
    r"|(?P<unicode>(?:\\u[0-9A-Fa-f]{4})+)"
    r"|\\(?P<simple>[nrtbf\"'/\\])"
    r"|(?P<entity>&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,12});)"
    r"|(?P<wide>[^\x00-\x7f])"
)
_SIMPLE: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ZERO_WIDTH: Final = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u200e\u200f")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){8,}")
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}){12,}")
_PRINTABLE_SHARE: Final = 0.9


@dataclass(frozen=True)
class View:
    """A decoded text; character `i` came from `raw[starts[i]:ends[i]]`."""

    text: str
    starts: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The raw span of `text[start:end]`; not empty."""
        return self.starts[start], self.ends[end - 1]


def unescape(text: str) -> View | None:
    """One layer of escapes removed, all sorts at once; None when there is none."""
    if text.isascii() and "%" not in text and "\\" not in text and "&" not in text:
        return None
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    changed = False

    def plain(until: int) -> None:
        pieces.append(text[position:until])
        starts.extend(range(position, until))
        ends.extend(range(position + 1, until + 1))

    for match in _ESCAPE.finditer(text):
        decoded = list(_decode(match))
        if len(decoded) == 1 and decoded[0][0] == match[0]:
            continue
        changed = True
        plain(match.start())
        offset = match.start()
        for piece, width in decoded:
            pieces.append(piece)
            starts.extend([offset] * len(piece))
            ends.extend([offset + width] * len(piece))
            offset += width
        position = match.end()
    if not changed:
        return None
    plain(len(text))
    return View("".join(pieces), starts, ends)


def _decode(match: re.Match[str]) -> Iterator[tuple[str, int]]:
    """Decoded pieces and the raw width that each came from."""
    raw = match[0]
    sort = match.lastgroup
    if sort == "wide":
        yield _normal(raw), 1
    elif sort == "percent":
        yield from _bytes(bytes.fromhex(raw.replace("%", "")), 3)
    elif sort == "hex":
        yield from _bytes(bytes.fromhex(raw.replace("\\x", "")), 4)
    elif sort == "unicode":
        units = raw.split("\\u")[1:]
        both = b"".join(int(unit, 16).to_bytes(2, "big") for unit in units).decode("utf-16-be", "replace")
        for char in both:
            yield _normal(char), 12 if ord(char) > 0xFFFF else 6
    elif sort == "entity":
        yield html.unescape(raw), len(raw)
    else:
        yield _SIMPLE.get(raw[1], raw[1]), 2


def _bytes(data: bytes, width: int) -> Iterator[tuple[str, int]]:
    for char in data.decode("utf-8", "surrogateescape"):
        yield char, width * len(char.encode("utf-8", "surrogateescape"))


def _normal(char: str) -> str:
    if char in _ZERO_WIDTH:
        return ""
    digit = unicodedata.decimal(char, None)
    return str(digit) if digit is not None else unicodedata.normalize("NFKC", char)


def blobs(text: str) -> Iterator[tuple[int, int, str]]:
    """Runs of base64(url) and hex that decode to readable text: start, end, the text."""
    for match in _BASE64.finditer(text):
        run = match[0]
        if len(set(run)) < 6:
            continue
        for skip in (0, 1, 2, 3) if len(run) < 65536 else (0,):  # a prefix may be glued on
            decoded = _readable(_unbase64(run[skip:]))
            if decoded:
                yield match.start(), match.end(), decoded
                break
    for match in _HEX.finditer(text):
        decoded = _readable(bytes.fromhex(match[0]))
        if decoded:
            yield match.start(), match.end(), decoded


def disguised(text: str) -> Iterator[tuple[int, int, str]]:
    """Letters and digits written as %xx: nothing but an evasion needs that. Start, end, the text."""
    for match in _PERCENT.finditer(text):
        decoded = bytes.fromhex(match[0].replace("%", ""))
        if sum(char < 128 and chr(char).isalnum() for char in decoded) >= 0.8 * len(decoded):
            yield match.start(), match.end(), decoded.decode("utf-8", "replace")


def _unbase64(run: str) -> bytes:
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    if len(body) % 4 == 1:
        body = body[:-1]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        return b""


def _readable(data: bytes) -> str:
    """The text of some bytes, "" when they are not text."""
    if len(data) < 6:
        return ""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # a cut or shifted run: its tail may be broken, its body must not be
        text = data[:-3].decode("utf-8", "ignore") if len(data) > 16 else ""
        if len(text.encode()) < len(data) - 6:
            return ""
    good = sum(c.isprintable() or c in "\r\n\t" for c in text)
    ascii_ = sum(c < "\x80" for c in text)
    return text if text and good >= _PRINTABLE_SHARE * len(text) and ascii_ >= 0.7 * len(text) else ""


def decoded_texts(text: str, *, depth: int = 2) -> Iterator[str]:
    """The text and everything that can be decoded from it: for searching, without offsets."""
    yield text
    if depth == 0:
        return
    view = unescape(text)
    if view is not None:
        yield from decoded_texts(view.text, depth=depth - 1)
    if "+" in text and "=" in text:
        yield urllib.parse.unquote_plus(text)
    for _, _, decoded in blobs(text):
        yield from decoded_texts(decoded, depth=depth - 1)
