"""Redaction of one incident: structure first, then attribute policy, detectors, decoded views, known values, tokens."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

from obsvty.errors import SettingsError
from obsvty.model import JsonValue
from obsvty.privacy import detectors, names, pairs, policy, structure, views
from obsvty.privacy.detectors import Hit
from obsvty.privacy.rules import globs, load
from obsvty.privacy.vault import Vault

_NAMED: Final = re.compile(r"([A-Za-z_][\w.\-]{0,63})\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\Z")
_DEPTH: Final = 2
_ROUNDS: Final = 4
_JSON_NESTING: Final = 64
_IMAGE: Final = re.compile(r"data:(?:image|font|audio|video)/[\w.+-]{1,40};base64,[A-Za-z0-9+/=]*")
_LITERAL: Final = re.compile(r"'((?:[^'\\]|''|\\.)*)'")
_PRIORITY: Final = {"SECRET": 1, "LITERAL": 0}


class Sanitizer:
    """Redacts one incident's text with stable pseudonyms. A new incident needs a new sanitizer.

    Args:
        allow: exact values that names and entropy leave alone; it never switches a detector off.
        deny: attribute names (`*` allowed) whose values are always redacted.
        extra: kind -> regular expression, detected beside the built-in ones.

    Raises:
        SettingsError: a kind or an expression of `extra` is not usable.
    """

    def __init__(
        self,
        *,
        allow: tuple[str, ...] = (),
        deny: tuple[str, ...] = (),
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self._allow = frozenset(allow)
        self._deny = globs(deny)
        self._extra = _compile(extra or {})
        self._vault = Vault(tuple(kind for kind, _ in self._extra))
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        given = json.dumps([sorted(allow), sorted(deny), sorted((extra or {}).items())])
        self._digest = hashlib.sha256((load().digest + given).encode()).hexdigest()[:16]

    @property
    def redactions(self) -> Mapping[str, int]:
        """Kind -> values replaced so far (occurrences)."""
        with self._lock:
            return MappingProxyType(dict(self._counts))

    @property
    def rules_digest(self) -> str:
        """Hash of the rules in force."""
        return self._digest

    def text(self, raw: str) -> str:
        """Free text, with what is structured inside it (JSON, URLs, SQL, headers, diffs) opened."""
        return cast("str", self._settle(raw))

    def attrs(self, raw: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A mapping of attributes: names decide first (policy), then values are scanned."""
        return dict(cast("Mapping[str, JsonValue]", self._settle(raw)))

    def value(self, raw: JsonValue) -> JsonValue:
        """Any JSON value, keys of mappings included."""
        return self._settle(raw)

    def document(self, raw: str, *, entropy: bool = True) -> str:
        """A long text, scanned piece by piece instead of cut; `entropy=False` for generated text such as JavaScript."""
        return "".join(self._pieces(raw, entropy=entropy))

    def url(self, raw: str, *, keep: bool = False) -> str:
        """A destination as the ledger shows it: without its user, query and the secret path of a web hook.

        Args:
            raw: URL or path.
            keep: only without what the destination itself needs to be secret (the web hook's path): for the final scan.
        """
        bare = re.sub(r"(hooks\.slack\.com/\w+/).*", r"\1...", raw)
        return bare if keep else self.text(bare.split("?", 1)[0])

    def findings(self, raw: JsonValue, *, entropy: bool = True) -> Mapping[str, int]:
        """What would still be replaced in something that should be clean: kind -> count.

        The strings of `raw` are scanned without their names, exactly as `text` and `document` scan them.
        """
        with self._lock:
            before = self._counts.copy()
            for leaf in dict.fromkeys(structure.strings(raw)):
                for piece in structure.cut_up(leaf):
                    self._free(piece, entropy=entropy)
            found, self._counts = self._counts - before, before
            return found

    # -- one value ---------------------------------------------------------------------------------------------------

    def _settle(self, raw: JsonValue) -> JsonValue:
        """Until nothing changes: a value learnt late in a mapping is also replaced where it stood early."""
        with self._lock:
            current = structure.cut(raw)
            for leaf in structure.strings(current):
                self._vault.reserve(leaf)
            for _ in range(_ROUNDS):
                after = self._walk(current, (), 0)
                if after == current:
                    break
                current = after
            return current

    def _walk(self, raw: JsonValue, path: tuple[str, ...], depth: int) -> JsonValue:
        if depth > _JSON_NESTING:
            return "[too deep]"
        if isinstance(raw, str):
            return self._string(raw, path)
        if isinstance(raw, bool) or raw is None:
            return raw
        if isinstance(raw, int | float):
            return self._number(raw, path)
        if isinstance(raw, Mapping):
            return self._mapping(raw, path, depth)
        return self._list(raw, path, depth)

    def _mapping(
        self, raw: Mapping[str, JsonValue], path: tuple[str, ...], depth: int
    ) -> dict[str, JsonValue]:
        cleaned: dict[str, JsonValue] = {}
        label = next(
            (raw[key] for key in ("name", "key", "Name", "Key") if isinstance(raw.get(key), str)), None
        )
        for key, value in raw.items():
            bare = self._vault.token.sub("", key)  # a pseudonym in a name says nothing about the value
            full = (*path, bare)
            if isinstance(label, str) and key in {"value", "Value", "val"} and names.classify(label):
                full = (*path, label)
            new_key = self._free(key)
            while new_key in cleaned:
                new_key += "_"
            cleaned[new_key] = self._walk(value, full, depth + 1)
        return cleaned

    def _list(self, raw: Sequence[JsonValue], path: tuple[str, ...], depth: int) -> list[JsonValue]:
        cleaned: list[JsonValue] = []
        flag = ""
        for value in raw:
            if flag and isinstance(value, str) and not value.startswith("-"):
                cleaned.append(self._string(value, (flag,)))
                flag = ""
                continue
            is_flag = (
                isinstance(value, str) and value.startswith("-") and "=" not in value and " " not in value
            )
            flag = (
                value.lstrip("-")
                if is_flag and isinstance(value, str) and names.classify(value) == "strong"
                else ""
            )
            cleaned.append(self._walk(value, path, depth + 1))
        return cleaned

    def _number(self, raw: float, path: tuple[str, ...]) -> JsonValue:
        action, kind = policy.decide(path, self._deny)
        text = str(raw)
        digits = sum(map(str.isdigit, text))
        # `{"email": 3}` counts e-mails, `{"otp": 482913}` is one
        enough = 1 if kind == "GEO" else 3 if path and names.may_be_number(path[-1]) else 6
        if policy.is_denied(path, self._deny) or (action in {"deny", "pseudonym"} and digits >= enough):
            return self._token(kind, text, propagate=True)
        if isinstance(raw, int) and action != "pass":
            hit = next((h for h in detectors.personal(text, loose=False) if h.kind == "CARD"), None)
            if hit:
                return self._token("CARD", text, propagate=True)
        return raw

    def _string(self, raw: str, path: tuple[str, ...]) -> str:
        if not raw:
            return raw
        action, kind = policy.decide(path, self._deny)
        if action in {"deny", "pseudonym"}:
            return self._whole(raw, kind, forced=policy.is_denied(path, self._deny))
        if action == "sql":
            return self._free(self._literals(raw))
        if action == "body" and not structure.is_structured(raw):
            return self._whole(raw, "SECRET", forced=True)
        return self._free(raw, entropy=action != "pass", loose=action != "pass")

    def _whole(self, raw: str, kind: str, *, forced: bool) -> str:
        """A value redacted because of its name."""
        rest = self._vault.token.sub("", raw).strip(" ,;=.:")
        if not rest or policy.is_scheme(rest):
            return raw
        if not forced and (raw in self._allow or names.is_placeholder(raw) or names.is_harmless(raw)):
            return raw
        if kind == "IP" and not any(hit.kind == "IP" for hit in self._hits(raw, 0)):
            return self._free(raw)  # private addresses and host names stay
        exact = next((hit.kind for hit in self._hits(raw, 0) if (hit.start, hit.end) == (0, len(raw))), kind)
        return self._token(exact if exact != "LITERAL" else kind, raw, propagate=True)

    def _literals(self, sql: str) -> str:
        """SQL with its quoted literals as tokens; parameters and shape stay."""

        def replace(match: re.Match[str]) -> str:
            value = match[1].replace("''", "'")
            if not value or names.is_placeholder(value) or self._vault.token.fullmatch(value):
                return match[0]
            kind = next((h.kind for h in self._hits(value, 1) if h.end - h.start == len(value)), "LITERAL")
            return f"'{self._token(kind, value, propagate=True)}'"

        return _LITERAL.sub(replace, sql)

    # -- text --------------------------------------------------------------------------------------------------------

    def _pieces(self, raw: str, *, entropy: bool) -> Iterator[str]:
        with self._lock:
            self._vault.reserve(raw)
            for piece in structure.cut_up(raw):
                current = piece
                for _ in range(_ROUNDS):
                    after = self._free(current, entropy=entropy)
                    if after == current:
                        break
                    current = after
                yield current

    def _free(self, raw: str, *, entropy: bool = True, loose: bool = True) -> str:
        """Text without a name: JSON inside it is walked, the rest is scanned."""
        out: list[str] = []
        position = 0
        for start, end, parsed in structure.json_parts(raw):
            out.append(self._scan(raw[position:start], entropy=entropy, loose=loose))
            name = _NAMED.search(raw, max(position, start - 80), start)
            cleaned = self._walk(parsed, (name[1],) if name else (), 0)
            out.append(raw[start:end] if cleaned == parsed else structure.dump(cleaned, raw[start:end]))
            position = end
        if not out:
            return self._scan(raw, entropy=entropy, loose=loose)
        out.append(self._scan(raw[position:], entropy=entropy, loose=loose))
        return "".join(out)

    def _scan(self, text: str, *, entropy: bool, loose: bool) -> str:
        if len(text) < 3:
            return text
        hits = self._hits(text, _DEPTH, entropy=entropy, loose=loose)
        if not hits:
            return text
        out: list[str] = []
        position = 0
        for hit in hits:
            if self._is_token_only(text, hit):
                continue
            out.append(text[position : hit.start])
            out.append(self._token(hit.kind, hit.value, propagate=hit.kind != "PRIVATE_KEY"))
            position = hit.end
        out.append(text[position:])
        return "".join(out)

    def _is_token_only(self, text: str, hit: Hit) -> bool:
        rest = self._vault.token.sub("", text[hit.start : hit.end])
        return len(rest) < hit.end - hit.start and not any(char.isalnum() for char in rest)

    def _hits(self, text: str, depth: int, *, entropy: bool = True, loose: bool = True) -> list[Hit]:
        """Spans to replace, in order, without overlaps."""
        found = list(self._detect(text, entropy=entropy, loose=loose))
        if depth and len(text) >= 6:
            images = [match.span() for match in _IMAGE.finditer(text)] if ";base64," in text else []
            for start, end, decoded in views.blobs(text):
                if any(left <= start < right for left, right in images):
                    continue
                inside = self._hits(decoded, depth - 1, loose=loose)
                if inside:
                    found.append(Hit(start, end, inside[0].kind, text[start:end]))
            if "%" in text:
                found.extend(
                    Hit(start, end, "SECRET", value, sure=False)
                    for start, end, value in views.disguised(text)
                )
            view = views.unescape(text)
            if view is not None:
                for hit in self._hits(view.text, depth - 1, entropy=entropy, loose=loose):
                    start, end = view.span(hit.start, hit.end)
                    found.append(Hit(start, end, hit.kind, hit.value, hit.sure))
            found = [h for h in found if not any(a <= h.start < b for a, b in images)] if images else found
        return _merge(text, [hit for hit in found if hit.sure or hit.value not in self._allow])

    def _detect(self, text: str, *, entropy: bool, loose: bool) -> Iterator[Hit]:
        for start, end, kind, value in self._vault.known(text):
            yield Hit(start, end, kind, value)
        yield from detectors.secrets(text)
        yield from detectors.personal(text, loose=loose)
        if entropy:
            yield from pairs.keyed(text)
            yield from pairs.random_runs(text)
        for kind, pattern in self._extra:
            for match in pattern.finditer(text):
                if match.end() > match.start():
                    yield Hit(match.start(), match.end(), kind, match[0])

    def _token(self, kind: str, value: str, *, propagate: bool) -> str:
        if self._vault.token.fullmatch(value):
            return value
        self._counts[kind.lower()] += 1
        return self._vault.give(kind, value, propagate=propagate)


def _compile(extra: Mapping[str, str]) -> list[tuple[str, re.Pattern[str]]]:
    compiled: list[tuple[str, re.Pattern[str]]] = []
    for kind, expression in sorted(extra.items()):
        label = re.sub(r"[^A-Z0-9]+", "_", kind.upper()).strip("_")
        try:
            pattern = re.compile(expression)
        except re.error as exc:
            raise SettingsError(
                f"The [privacy] extra rule {kind!r} is not a regular expression.",
                hint="Mend it in obsvty.toml.",
            ) from exc
        if not label or pattern.match(""):
            raise SettingsError(f"The [privacy] extra rule {kind!r} is empty or matches everything.")
        compiled.append((label, pattern))
    return compiled


def _merge(text: str, hits: list[Hit]) -> list[Hit]:
    """Overlaps joined; the kind of the widest stays, unless a more telling one spans as much."""
    merged: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end, -_PRIORITY.get(h.kind, 2), h.kind, h.value)):
        if not merged or hit.start >= merged[-1].end:
            merged.append(hit)
        elif hit.end > merged[-1].end:
            last = merged.pop()
            kind = max(last.kind, hit.kind, key=lambda kind: _PRIORITY.get(kind, 2))
            merged.append(Hit(last.start, hit.end, kind, text[last.start : hit.end], last.sure or hit.sure))
    return merged
