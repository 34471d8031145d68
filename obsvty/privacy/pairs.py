"""Credentials that a name beside them gives away: key=value, JSON, headers, flags, XML, SQL, connection strings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from obsvty.privacy import names
from obsvty.privacy.detectors import Hit
from obsvty.privacy.entropy import looks_random
from obsvty.privacy.rules import load
from obsvty.privacy.shapes import UUID, is_id

_NAME: Final = re.compile(
    r"(?<![A-Za-z0-9_])([A-Za-z_](?:[A-Za-z0-9_.]|-(?!>)){0,63}+"
    r"(?: (?:[Kk]ey|[Ii]d|[Tt]oken|[Ss]ecret|[Pp]assword|[Cc]ode|PWD|Pwd|pwd))?)"
    r"(?:\[[\w\"']{0,32}\])?(\\{0,4}[\"'`]?[\])]?)"
    r"(?:[ \t]{0,2}:?[ \t]{1,2}(?:[Ss]tring|str|&str|\*?string|char ?\*|String\?|const char ?\*))?"
    r"[ \t]{0,8}(=>|->|:{0,3}=|\?=|\|\|:?=|===?|[=:]|,(?=[ ]?[\"']))[ \t]{0,8}"
)
_QUOTED: Final = re.compile(r"[bfru]{0,2}(\\{0,6}(?:\"\"\"|'''|[\"'`]))")
_BARE: Final = re.compile(
    r"(?:[^\s\"'<>;&,|)}\]]|,(?![\s\"']|[\w.\-]{1,40}[=:])|[)}\]|](?=[^\s\"'<>;&,|)}\].:]))+"
)
_AUTH_VALUE: Final = re.compile(
    r"(?i)(?:bearer|basic|digest|token|apikey|negotiate|ntlm|aws4-hmac-sha256|key|sso-key|hmac)[ \t]+"
)
_FLAG: Final = re.compile(r"(?<![\w-])--?([A-Za-z][\w-]{1,40})[ \t]+[\"']?([^\s\"'-][^\s\"']{0,4096})")
_PROSE: Final = re.compile(r"(?:'s)?,? (?:[A-Za-z]|= )")
_SET: Final = re.compile(
    r"(?i)\b(?:set|setenv|export|putenv)[ \t]+([A-Za-z_][\w.-]{1,60})[ \t]+[\"']([^\"'\n]{4,4096})[\"']"
)
_USER_FLAG: Final = re.compile(
    r"(?<![\w-])(?:-u|--user|--proxy-user|-U)[ \t]*=?[ \t]*[\"']?[^\s:\"']{1,128}:([^\s\"']{1,512})"
)
_SHORT_FLAG: Final = re.compile(
    r"(?i)(?:mysql|mysqldump|mysqladmin|mariadb|sshpass|redis-cli|psql|docker login|podman login)\b"
    r"[^\n|;&]{0,200}?[ \t](?:-p[ \t]{0,1}|-a[ \t])[\"']?([^\s\"'-][^\s\"']{2,256})"
)
_XML: Final = re.compile(r"<([A-Za-z][\w:.\-]{1,60})(?:[ \t][^<>]{0,300})?>([^<]{1,8192})</")
_NAME_VALUE: Final = re.compile(
    r"(?i)\b(?:name|key|id|field|header)\\?[\"']?\s{0,3}[=:]\s{0,3}\\?[\"']([\w.:\- ]{2,80})\\?[\"']"
    r"[^<>{}]{0,80}?\b(?:value|val|content|secret)\\?[\"']?\s{0,3}[=:]\s{0,3}\\?([\"'])"
)
_MULTIPART: Final = re.compile(
    r"(?i)name=\\?[\"']?([\w.\-]{2,80})\\?[\"']?[^\r\n]{0,200}(?:\r?\n[^\r\n]{1,200}){0,4}\r?\n\r?\n([^\r\n]{1,8192})"
)
_COOKIE: Final = re.compile(
    r"(?i)(?<![\w-])(?:set-)?cookie[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?([\w.%-]{1,128}=[^\r\n\"']{1,8192})"
)
_PARAMETERS: Final = re.compile(
    r"(?i)(?<![\w-])(?:digest|aws4-hmac-sha256|hawk|oauth)[ \t]+"
    r"((?:[\w-]{1,64}=(?:\"[^\"\n]{0,4096}\"|[^\s,\"']++)[, \t]{0,3})+)"
)
_SAID: Final = re.compile(
    r"(?i)(?<![\w-])(?:password|passwd|pwd|passphrase|passcode|secret|token|api key)[ \t]+"
    r"(?:is|was|now|to)[ \t]+[\"'`]?([^\s\"'`,;]{4,256})"
)
_PIN: Final = re.compile(
    r"(?i)(?<![\w-])(?:pin|otp|cvv|cvc|passcode)(?: code)?(?: is| was)?[ \t]+([0-9]{3,8})(?![\w.-])"
)
_KEY_DETAIL: Final = re.compile(r"\bKey \([^)\n]{1,200}\)=\((?!<)([^)\n]{1,512})\)")
_AUTH_COMMAND: Final = re.compile(
    r"(?i)(?<![\w\"'])(?:AUTH|REQUIREPASS|MASTERAUTH)[ \t]+"
    r"(?:[\w.-]{1,64}[ \t]+)?[\"']?([^\s\"']{4,512})[\"']?[ \t]*(?=$|[\r\n;])"
)
_SQL_SECRET: Final = re.compile(
    r"(?i)\b(?:IDENTIFIED[ \t]+(?:WITH[ \t]+\S{1,40}[ \t]+)?BY|PASSWORD|SECRET)[ \t]+(?:=[ \t]*)?'([^'\n]{1,512})'"
)
_SECRET_WORD: Final = re.compile(
    r"(?i)(?:secret|token|password|passwd|credentials?|api[ _-]?key|access[ _-]?key|passphrase)s?"
    r"(?:[ \t]+(?:is|was|value|key|for \S{1,40}))?[ \t]*[:=]?[ \t]*[\"'`(]?$"
)
_ID_NAME: Final = re.compile(r"([A-Za-z][\w.\-]{2,60})[\"']?[ \t]{0,2}[=:][ \t]{0,2}[\"'\[]{0,2}$")
_RUN: Final = re.compile(r"[A-Za-z0-9+/=_\-!~.@#$%^*]{16,4096}")
_BASE64_ONLY: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_PARTS: Final = re.compile(r"[A-Za-z0-9+=_-]{16,}")


def keyed(text: str) -> Iterator[Hit]:
    """Values beside a name that says what they are."""
    position = 0
    for match in _NAME.finditer(text):
        if match.start() < position:
            continue
        sort = names.classify(match[1])
        if not sort:
            continue
        if match[3] == "," and sort != "strong":
            continue
        for hit in _value_of(text, match, sort):
            position = hit.end
            yield hit
    if "-" in text:
        yield from _flags(text)
    if "set" in text or "SET" in text:
        for match in _SET.finditer(text):
            yield from _named(match[1], match[2], match.start(2))
    if "</" in text:
        for match in _XML.finditer(text):
            yield from _named(match[1], match[2], match.start(2))
    if "name" in text or "key" in text:
        yield from _name_values(text)
    if "Key (" in text:
        for match in _KEY_DETAIL.finditer(text):
            yield Hit(match.start(1), match.end(1), "LITERAL", match[1], sure=False)
    for pattern in (_COOKIE, _PARAMETERS, _PIN):
        for match in pattern.finditer(text):
            if not names.is_placeholder(match[1]):
                yield Hit(
                    match.start(1),
                    match.start(1) + len(match[1].rstrip(", \t")),
                    "SECRET",
                    match[1],
                    sure=False,
                )
    for match in _SAID.finditer(text):
        if any(char.isdigit() for char in match[1]) and names.names_a_secret(
            "password", match[1].rstrip("."), quoted=True, line_start=False
        ):
            yield Hit(match.start(1), match.end(1), "SECRET", match[1], sure=False)
    for pattern in (_AUTH_COMMAND, _SQL_SECRET):
        for match in pattern.finditer(text):
            if not names.is_placeholder(match[1]) and not names.is_harmless(match[1]):
                yield Hit(match.start(1), match.end(1), "SECRET", match[1], sure=False)


def _value_of(text: str, name: re.Match[str], sort: str) -> Iterator[Hit]:
    start = name.end()
    opened = _QUOTED.match(text, start)
    if opened:
        start = opened.end()
        end = _closing(text, start, opened[1])
        value = text[start:end]
    else:
        if text[start : start + 1] in {"[", "("}:
            start += 1
            opened = _QUOTED.match(text, start)
            start = opened.end() if opened else start
        bare = _BARE.match(text, start)
        scheme = _AUTH_VALUE.match(text, start)
        if scheme:
            bare = _BARE.match(text, scheme.end()) or bare
        if bare is None:
            return
        value = text[start : bare.end()]
        if value.isalpha() and name[0][-1] == " " and _PROSE.match(text, bare.end()):
            return  # "token: the one that ...": a sentence about it
    scheme = _AUTH_VALUE.match(value)
    if scheme and len(value) > scheme.end():
        start += scheme.end()
        value = value[scheme.end() :]
    if sort not in {"strong", "weak"}:
        if _is_personal(sort, value, name[3], quoted=bool(opened)):
            yield Hit(start, start + len(value), sort, value, sure=False)
        return
    if name[3] == "," and not (names.is_credential(value) or (is_id(value) and len(value) >= 16)):
        return  # a list of words, not a name and its value
    line = text.rfind("\n", 0, name.start()) + 1
    line_start = not text[line : name.start()].strip(" \t\"'+-") and name[3] in {"=", ":"}
    if names.names_a_secret(name[1], value, quoted=bool(opened), line_start=line_start):
        yield Hit(start, start + len(value), "SECRET", value, sure=False)


def _is_personal(kind: str, value: str, separator: str, *, quoted: bool) -> bool:
    """Whether the value of `phone=`, `first_name:` ... is one: prose and code are not."""
    if names.is_placeholder(value) or names.is_harmless(value) or separator == "," or "{" in value:
        return False
    digits = sum(char.isdigit() for char in value)
    if kind in {"NAME", "ADDRESS"}:
        return (quoted or separator == "=") and value[:1].isupper()
    if kind == "EMAIL":
        return "@" in value
    return digits >= {"CARD": 12, "PHONE": 7, "IBAN": 12}.get(kind, 4)


def _closing(text: str, start: int, quote: str) -> int:
    """Where a quoted value ends; an unclosed one ends with its line."""
    position = start
    while True:
        found = text.find(quote, position)
        if found < 0:
            line = text.find("\n", start)
            return line if line >= 0 else len(text)
        slashes = 0
        while found - slashes > start and text[found - slashes - 1] == "\\":
            slashes += 1
        if slashes % 2 == 0:
            return found
        position = found + len(quote)


def _named(name: str, value: str, start: int) -> Iterator[Hit]:
    stripped = value.strip()
    if not stripped:
        return
    start += value.index(stripped)
    sort = names.classify(name)
    if sort in {"strong", "weak"}:
        if names.names_a_secret(name, stripped, quoted=True, line_start=True):
            yield Hit(start, start + len(stripped), "SECRET", stripped, sure=False)
    elif sort and not names.is_placeholder(stripped) and not names.is_harmless(stripped):
        yield Hit(start, start + len(stripped), sort, stripped, sure=False)


def _flags(text: str) -> Iterator[Hit]:
    for match in _FLAG.finditer(text):
        if names.classify(match[1]) == "strong" and names.names_a_secret(
            match[1], match[2], quoted=False, line_start=False
        ):
            yield Hit(match.start(2), match.end(2), "SECRET", match[2], sure=False)
    for pattern in (_USER_FLAG, _SHORT_FLAG):
        for match in pattern.finditer(text):
            if not names.is_placeholder(match[1]) and not match[1].startswith("//"):
                yield Hit(match.start(1), match.end(1), "SECRET", match[1], sure=False)


def _name_values(text: str) -> Iterator[Hit]:
    for match in _NAME_VALUE.finditer(text):
        end = _closing(text, match.end(), match[2])
        yield from _named(match[1], text[match.end() : end].rstrip("\\"), match.end())
    for match in _MULTIPART.finditer(text) if "form-data" in text else ():
        yield from _named(match[1], match[2], match.start(2))


def random_runs(text: str) -> Iterator[Hit]:
    """Runs of 16 and more characters that look like no id and no words."""
    for match in _RUN.finditer(text):
        run = match[0]
        if "/" in run and not run.startswith("/") and _is_base64(run):
            yield Hit(match.start(), match.end(), "SECRET", run, sure=False)
            continue
        named = _SECRET_WORD.search(text, max(0, match.start() - 40), match.start())
        for part in _PARTS.finditer(run):
            start = match.start() + part.start()
            value = part[0].strip("=_-") if part[0][0] in "=_-" else part[0].rstrip("_-")
            start += part[0].index(value) if value else 0
            if "=" in value.rstrip("="):  # name=value: only what follows the sign
                cut = value.rstrip("=").rindex("=") + 1
                start, value = start + cut, value[cut:]
            if len(value) < 16:
                continue
            if is_id(value.rstrip("=")):
                if named and len(value) >= 20 and part.start() == 0:
                    yield Hit(start, start + len(value), "SECRET", value, sure=False)
            elif _is_random(UUID.sub("", value)) and not _names_an_id(text, start):
                # the whole run: what surrounds a random part (a prefix, a dot, punctuation) belongs to it
                yield Hit(start, start + len(value), "SECRET", value, sure=False)


def _names_an_id(text: str, start: int) -> bool:
    """Whether `x-request-id: `, `trace_id=` ... stands in front: an id by its own account."""
    name = _ID_NAME.search(text, max(0, start - 64), start)
    if name is None:
        return False
    parts = names.words(name[1])
    return len(parts) > 1 and parts[-1] == "id" and parts[-2] in load().harmless_words


def _is_base64(run: str) -> bool:
    """Random base64 with slashes in it, rather than a path."""
    if len(run) < 24 or not _BASE64_ONLY.fullmatch(run):
        return False
    if any(
        len(part) >= 4 and part.isalpha() and (part.islower() or part.istitle()) for part in run.split("/")
    ):
        return False
    return _is_random(run.replace("/", "").replace("+", ""))


def _is_random(value: str) -> bool:
    pieces = [piece for piece in re.split(r"[_\-+/=]", value) if piece]
    if not pieces:
        return False
    longest = max(pieces, key=len)
    if len(longest) >= 16:
        return not is_id(longest) and looks_random(longest)
    mixed = (
        any(c.isupper() for c in value)
        and any(c.islower() for c in value)
        and any(c.isdigit() for c in value)
    )
    return mixed and len(value) >= 24 and len(longest) >= 8 and looks_random("".join(pieces))
