"""Lets a sentence of a model through only when the evidence that it cites says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from obsvty.insight.numbers import Numbers, numbers_in
from obsvty.model import JsonObject, JsonValue

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_EVIDENCE_ID = re.compile(r"\bE\d{1,4}\b")
_REVISION = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w./-])(?:[\w.-]+/)*[\w-][\w.-]*\.[A-Za-z]\w{0,7}(?::\d+(?:-\d+)?)?(?![\w/])")
_PATH_LINE = re.compile(r"(?P<path>.+):(?P<start>\d+)(?:-(?P<end>\d+))?")
_NAME = re.compile(
    r"\b(?=\w*[A-Za-z_])(?=\w*\d)[\w]+(?:[.-]\w+)*\b|\b\d+(?:\.\d+){2,}\b|\b\d{1,4}(?:[-:]\d{1,2})+\b"
)
# What a page or a notebook would load or run; `Vec<T>` and `<*>` are words of programs and of log templates.
_MARKUP = re.compile(
    r"!\[|\]\(|<\s*/?\s*(?:a|img|script|iframe|svg|object|embed|link|style|form|base|meta|video|audio|input|math)\b"
    r"|<[^<>]+\son\w+\s*=|javascript:",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*_\d+>")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,10}://[^\s)>\]\"']+", re.IGNORECASE)
_UNIT = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)(ms|s|x|us|ns|min|h|[kKMG]i?B)\b"
)  # "9.9x" and "20ms" are numbers
_HARMLESS = re.compile(
    r"p\d{1,3}(?:\.\d+)?|utf-?\d+|http/?\d(?:\.\d)?|\d+(?:st|nd|rd|th)|n\+1|oauth2|base64|ipv[46]|sha-?\d+",
    re.IGNORECASE,
)

# Text in the facts that strangers wrote: its numbers count only when the evidence that quotes it is cited.
_STRANGERS = frozenset({"template", "excerpt", "subject", "title", "evidence", "sample", "author"})


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something a model says, and what it cites for it."""

    text: str
    citations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What may be shown, sentence by sentence, and what was struck out, each with its reason."""

    kept: tuple[Claim, ...]
    struck: tuple[str, ...]
    reasons: tuple[str, ...] = ()  # of the struck ones, without their text

    @property
    def text(self) -> str:
        """The kept sentences as one paragraph."""
        return " ".join(claim.text for claim in self.kept)

    @property
    def citations(self) -> tuple[str, ...]:
        """What they cite, each once, in the order of first use."""
        return tuple(dict.fromkeys(cited for claim in self.kept for cited in claim.citations))


def check_claims(
    claims: Sequence[Claim], *, evidence_ids: Sequence[str], facts: JsonObject, context_text: str = ""
) -> Checked:
    """Each sentence of each claim against the evidence it cites.

    A sentence stays when it cites evidence that exists, and when each number, revision, file, line, address and
    identifier with a digit in it is found in that evidence or in the measured facts. Numbers may be rounded.

    Args:
        claims: what the model said.
        evidence_ids: the ids that exist; when there are none, sentences need no citation.
        facts: the context's facts (`obsvty.context.build_facts`), sanitized.
        context_text: what the model read; identifiers such as `session.post` may come from anywhere in it, because code
            of the suspects stands only there. Numbers, revisions, lines and addresses may not.
    """
    ground = _Ground.of(facts, context_text)
    kept: list[Claim] = []
    struck: list[str] = []
    reasons: list[str] = []
    for claim in claims:
        known = tuple(dict.fromkeys(c for c in claim.citations if c in evidence_ids))
        unknown = [c for c in claim.citations if c not in evidence_ids]
        for sentence in _sentences(claim.text):
            said = _EVIDENCE_ID.findall(sentence)
            reason = _fault(sentence, (*unknown, *(x for x in said if x not in evidence_ids)), known, ground)
            if not known and evidence_ids and not reason:
                reason = "it cites no evidence"
            if reason:
                struck.append(f"{sentence} [{reason}]")
                reasons.append(reason)
            else:
                kept.append(Claim(text=sentence, citations=known))
    return Checked(kept=tuple(kept), struck=tuple(struck), reasons=tuple(reasons))


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What a sentence may rest on."""

    evidence: Mapping[str, str]  # id -> text
    text: str  # of the facts, without what strangers wrote
    numbers: Numbers  # of the facts
    read: str  # all that the model read
    lines: Mapping[str, Sequence[tuple[int, int]]] = field(
        default_factory=dict[str, "Sequence[tuple[int, int]]"]
    )

    @classmethod
    def of(cls, facts: JsonObject, context_text: str) -> _Ground:
        own = json.dumps(_without_strangers(facts), ensure_ascii=False)
        return cls(
            evidence=_evidence(facts),
            text=own.lower(),
            numbers=Numbers.of_facts(_without_strangers(facts)),
            read=context_text.lower(),
            lines=_lines(facts),
        )


def _fault(sentence: str, unknown: Sequence[str], known: Sequence[str], ground: _Ground) -> str:
    """Why the sentence is struck; "" when it stays. Reasons repeat none of the model's words."""
    if unknown:
        return "it cites evidence that does not exist"
    cited = "\n".join(ground.evidence.get(c, "") for c in known)
    spoken = _PLACEHOLDER.sub(" ", sentence)
    if _MARKUP.search(spoken):
        return "it holds markup"
    rest = _EVIDENCE_ID.sub(" ", spoken)
    heard = cited.lower() + "\n" + ground.text
    seen = heard + "\n" + ground.read
    for url in _URL.findall(rest):
        if url.lower().rstrip(".,") not in ground.text:  # evidence may quote a stranger's link
            return "an address in it was not measured"
    rest = _URL.sub(" ", rest)
    for revision in _REVISION.findall(rest):
        if re.search(rf"(?<![0-9a-f]){re.escape(revision.lower())}", heard):
            rest = rest.replace(revision, " ")
        elif not revision.isdigit():  # seven digits may be a number as well: it is judged as one below
            return "a revision in it is not in the evidence"
    for path in _PATH.findall(rest):
        if not _has_path(path, heard, ground):
            return "a file or line in it is not in the evidence"
    rest = _PATH.sub(" ", rest)
    rest = _UNIT.sub(r"\1 \2", rest)
    for name in _NAME.findall(rest):
        if not _HARMLESS.fullmatch(name) and not _has_word(name.lower(), seen):
            return "a name in it is not in the evidence"
    rest = _NAME.sub(" ", rest)
    allowed = ground.numbers.with_text(cited)
    if not all(allowed.hold(number) for number in numbers_in(rest)):
        return "a number in it is not in the evidence"
    return ""


def _has_path(path: str, heard: str, ground: _Ground) -> bool:
    if path.lower() in heard or (
        "/" not in path and ":" not in path and _has_word(path.lower(), ground.read)
    ):
        return True
    at = _PATH_LINE.fullmatch(path)
    if at is None:
        return False
    start = int(at["start"])
    end = int(at["end"] or start)
    return any(
        file.endswith(at["path"].lower()) and low <= start <= end <= high
        for file, spans in ground.lines.items()
        for low, high in spans
    )


def _has_word(word: str, heard: str) -> bool:
    """As a word of its own; the date and the time inside `2026-11-20T14:59:31.250Z` are such words too."""
    return re.search(rf"(?:(?<!\w)|(?<=\dt)){re.escape(word)}(?:(?!\w)|(?=t\d))", heard) is not None


def _sentences(text: str) -> list[str]:
    """Split where a new sentence begins; control characters become spaces, so that nothing hides in a terminal."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return [sentence for part in _SENTENCE_END.split(plain) if (sentence := " ".join(part.split()))]


def _without_strangers(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return {key: _without_strangers(inner) for key, inner in value.items() if key not in _STRANGERS}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_strangers(inner) for inner in value]
    return value


def _mappings(value: JsonValue) -> Iterable[JsonObject]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


def _evidence(facts: JsonObject) -> dict[str, str]:
    return {str(item.get("id")): str(item.get("text")) for item in _mappings(facts.get("evidence"))}


def _lines(facts: JsonObject) -> dict[str, list[tuple[int, int]]]:
    """File (lower case) -> the ranges of lines that suspects wrote."""
    found: dict[str, list[tuple[int, int]]] = {}
    for suspect in _mappings(facts.get("suspects")):
        for hunk in _mappings(suspect.get("hunks")):
            start, end = hunk.get("start"), hunk.get("end")
            if isinstance(start, int) and isinstance(end, int):
                found.setdefault(str(hunk.get("file")).lower(), []).append((start, end))
    return found
