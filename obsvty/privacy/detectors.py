"""Detectors over one plain text: each yields spans with a kind. Every pattern is linear in the text's length."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from obsvty.privacy import names
from obsvty.privacy.rules import load
from obsvty.privacy.shapes import (
    UUID,
    iban_length,
    is_base58check,
    is_bech32,
    is_card,
    is_cnpj,
    is_cpf,
    is_public_ip,
)


@dataclass(frozen=True, slots=True)
class Hit:
    """A span to replace. `value` is what it decodes to; `known` hits were redacted before."""

    start: int
    end: int
    kind: str
    value: str
    sure: bool = True  # False: a name or entropy said so; an allow entry may overrule it


_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_JWT: Final = re.compile(r"(?<![A-Za-z0-9_-])ey[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){1,4}")
_USERINFO: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,30}://([^\s/:@\"'<>?#]{0,256})(?::([^\s/@\"'<>]{1,1024}))?@(?=[\w\[<])"
)
_USERINFO_ODD: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|rediss|amqps?|kafka|mssql|sqlserver|oracle|clickhouse|nats|ldaps?|s?ftp|smtps?)"
    r"(?:\+\w{1,20})?://([^\s/:@\"'<>?#]{0,256}):([^\s\"'<>]{1,512})@(?=[\w\[<])"
)
_SCHEME: Final = re.compile(
    r"(?i)(?<![A-Za-z0-9])(?:bearer|basic|token|apikey|negotiate|ntlm|sso-key|api-key|key)"
    r"[ \t]+[\"']?([A-Za-z0-9._~+/=:-]{8,4096})"
)
_EMAIL: Final = re.compile(
    r"[\w.!#$%&'*+/=?^`{|}~-]{0,64}[\w+-]@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w@]|-\w)"
)
_IN_USERINFO: Final = re.compile(r"[A-Za-z]://([^\s/?#\"'<>@]*)\Z")
_EMAIL_START: Final = re.compile(r"[\w.+%-]{1,64}\Z")
_CARD: Final = re.compile(
    r"(?<![0-9])(?<![0-9]\.)(?:[0-9]{13,19}|"
    r"[0-9]{4}([ ./_-]{1,2})[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}(?:\1[0-9]{1,3})?|"
    r"[0-9]{4}([ ./_-]{1,2})[0-9]{6}\2[0-9]{4,5})(?![0-9]|\.[0-9])"
)
_CARD_WORD: Final = re.compile(r"(?i)card|(?<![a-z])(?:pan|cc|visa|maestro|credit|debit)(?![a-z])")
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,34}")
_IPV4: Final = re.compile(r"(?<!\w)(?<![0-9]\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IPV6: Final = re.compile(
    r"(?<!\w)(?<![0-9A-Fa-f]:)(?<!::)(?<![0-9]\.)[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])"
)
_MAC: Final = re.compile(
    r"(?<!\w)(?<![0-9A-Fa-f][:-])(?:[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|"
    r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w]|[:-][0-9A-Fa-f])"
)
_PHONE: Final = re.compile(
    r"(?<![\w+)])(?<![0-9]\.)(?:\+|00(?=[1-9][0-9] ))[1-9][0-9]{0,2}(?:[ ().\-/]{0,2}[0-9]){6,13}(?![0-9])"
)
_PHONE_US: Final = re.compile(
    r"(?<![\w+-])(?<![0-9]\.)(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])"
    r"[2-9][0-9]{2}[-. ][0-9]{4}(?:x[0-9]{1,5})?(?![\w-])"
)
_PHONE_WORD: Final = re.compile(
    r"(?i)(?<![a-z])(?:phone|tel|telephone|telefon|telefone|mobile|cell|fax|whatsapp|sms|msisdn|"
    r"(?:call(?:ed|er)?|dial(?:ed)?|reach)(?: me| us| him| her)?)(?:[ _]?(?:number|no|nr))?"
    r"[\"']?[ \t]{0,2}(?:[:=#]|is|at|to|from)?[ \t]{0,2}[\"']?(\(?[0-9](?:[ ().\-/]{0,2}[0-9]){6,13})(?![0-9])"
)
_ID_WORD: Final = re.compile(
    r"(?i)(?<![a-z])(?:ssn|social security|nhs|passport"
    r"|driver'?s? licen[cs]e|dni|nie|nif|niss|steuer-?id|pesel|bsn|nino"
    r"|cpf|cnpj"
    r"|tax id|aadhaar|medicare|national id|personnummer|codice fiscale|curp|national insurance|identity card)"
    r"(?:[ _]?(?:number|no\.?|nr\.?|id|num))?[\"']?[ \t]{0,2}(?:[:=#]|is)?[ \t]{0,2}[\"']?"
    r"([A-Za-z]{0,6}[ -]?[0-9](?:[ .-]?[0-9A-Za-z]){4,16})(?![A-Za-z0-9])"
)
_AT: Final = re.compile(
    r"(?i)(?<![\w.+-])[\w.+-]{1,64} ?[\[({]at[\])}] ?[\w-]{1,63}(?:(?:\.| ?[\[({]dot[\])}] ?)[\w-]{2,63}){1,5}"
)
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])")
_CPF: Final = re.compile(r"(?<!\w)(?<![0-9]\.)[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![\w])")
_CNPJ: Final = re.compile(r"(?<!\w)(?<![0-9]\.)[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}(?![\w])")
_WALLET: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{11,71}|0x[0-9A-Fa-f]{40})(?![A-Za-z0-9])"
)
_HOME: Final = re.compile(
    r"(?i)(?<![\w.])(?:/home/|/Users/|[A-Z]:\\{1,2}Users\\{1,2})([^/\\\s:\"'<>]{2,64})(?=[/\\])"
)


def personal(text: str, *, loose: bool = True) -> Iterator[Hit]:
    """E-mail, card, IBAN, address, phone, national ids, wallets, account names in paths.

    Args:
        text: one value.
        loose: also what an id or a version may look like (public addresses, phone numbers).
    """
    if "@" in text:
        yield from _emails(text)
    for match in _AT.finditer(text):
        yield Hit(match.start(), match.end(), "EMAIL", match[0])
    if not any(char.isdigit() for char in text):
        yield from _homes(text)
        return
    uuids = [match.span() for match in UUID.finditer(text)] if "-" in text else []
    for match in _CARD.finditer(text):
        digits = re.sub(r"[^0-9]", "", match[0])
        inside = any(start < match.end() and match.start() < end for start, end in uuids)
        if (
            not inside
            and 13 <= len(digits) <= 19
            and is_card(digits)
            and _plausible_card(text, match.start(), digits)
            and not _in_id(text, match.start(), match.end())
        ):
            yield Hit(match.start(), match.end(), "CARD", match[0])
    for match in _IBAN.finditer(text):
        yield from _ibans(text, match)
    for match in _MAC.finditer(text):
        if len(set(match[0]) - set(":-.")) > 1:
            yield Hit(match.start(), match.end(), "MAC", match[0])
    for pattern, check in ((_SSN, None), (_CPF, is_cpf), (_CNPJ, is_cnpj)):
        for match in pattern.finditer(text):
            if check is None or check(match[0]):
                yield Hit(match.start(), match.end(), "NATIONAL_ID", match[0])
    for match in _ID_WORD.finditer(text):
        if sum(char.isdigit() for char in match[1]) >= 6:
            yield Hit(match.start(1), match.end(1), "NATIONAL_ID", match[1])
    for match in _WALLET.finditer(text):
        value = match[0]
        if value.startswith("0x") or (is_bech32(value) if value.startswith("bc1") else is_base58check(value)):
            yield Hit(match.start(), match.end(), "WALLET", value)
    if loose:
        yield from _addresses(text)
        yield from _phones(text)
    yield from _homes(text)


def _plausible_card(text: str, start: int, digits: str) -> bool:
    """Ids of 17 to 19 digits are commoner than such cards (HDFS blocks, snowflakes): these need a word before them."""
    before = text[max(0, start - 40) : start]
    if _CARD_WORD.search(before):
        return True
    return len(digits) <= 16 and re.search(r"[A-Za-z0-9]_-?$", before) is None


def _emails(text: str) -> Iterator[Hit]:
    for match in _EMAIL.finditer(text):
        if match[0].startswith("git@") or text[match.end() : match.end() + 1] == "(":
            continue  # git@github.com:owner/name is a host, @app.get( a decorator
        # punctuation that RFC 5322 allows in front is a delimiter in practice: key=ana@..., 'ana@..., /ana@...
        local = match[0].split("@", 1)[0]
        kept = _EMAIL_START.search(local)
        start = match.start() + (kept.start() if kept else 0)
        while text[start] in ".%-" and start < match.end():
            start += 1
        if text[start] in "@+":
            continue
        userinfo = _IN_USERINFO.search(text, max(0, start - 300), start)
        if userinfo:  # scheme://user:password@host: the password has its own detector, the host stays
            end = text.rindex("@", start, match.end())
            if not userinfo[1] and text[start:end].casefold() not in load().accounts:
                yield Hit(start, end, "USER", text[start:end])
            continue
        yield Hit(start, match.end(), "EMAIL", text[start : match.end()])


def _in_id(text: str, start: int, end: int) -> bool:
    """Whether digits are part of a longer id: letters on both sides, or hex with letters."""
    left, right = start, end
    while left > 0 and text[left - 1].isalnum():
        left -= 1
    while right < len(text) and text[right].isalnum():
        right += 1
    run = text[left:start] + text[end:right]
    if not run:
        return False
    return re.fullmatch(r"[0-9A-Fa-f]+", run) is not None or any(char.isdigit() for char in run)


def _ibans(text: str, match: re.Match[str]) -> Iterator[Hit]:
    run = re.sub(r"[ -]", "", match[0]).upper()
    size = iban_length(run)
    if not size:
        return
    end = match.start()
    seen = 0
    while seen < size:
        seen += text[end].isalnum()
        end += 1
    if end < len(text) and text[end].isalnum():
        return
    yield Hit(match.start(), end, "IBAN", text[match.start() : end])


def _addresses(text: str) -> Iterator[Hit]:
    for match in _IPV4.finditer(text):
        before = text[max(0, match.start() - 9) : match.start()].lower()
        # Chrome/129.0.0.0 and version 1.2.3.4 are no addresses; /users/8.8.8.8/orders is one
        product = re.search(
            r"(?:^|[\s(;,\"'])[A-Za-z][\w.-]*/$", text[max(0, match.start() - 40) : match.start()]
        )
        version = re.search(r"version[ :=]*$|(?<![a-z])v ?$|==$|~$", before) or (
            product and text[match.end() : match.end() + 1] != "/"
        )
        if not version and is_public_ip(match[0]):
            yield Hit(match.start(), match.end(), "IP", match[0])
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            value = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
            if value[0] in "23" and len(value) >= 7 and is_public_ip(value):
                yield Hit(match.start(), match.start() + len(value), "IP", value)


def _phones(text: str) -> Iterator[Hit]:
    for pattern in (_PHONE, _PHONE_US):
        for match in pattern.finditer(text):
            digits = sum(char.isdigit() for char in match[0])
            if 9 <= digits <= 15 and not is_public_ip(match[0]):
                yield Hit(match.start(), match.end(), "PHONE", match[0])
    for match in _PHONE_WORD.finditer(text):
        digits = sum(char.isdigit() for char in match[1])
        if 7 <= digits <= 15:
            yield Hit(match.start(1), match.end(1), "PHONE", match[1])


def _homes(text: str) -> Iterator[Hit]:
    if "/home/" not in text and "sers" not in text:
        return
    accounts = load().accounts
    for match in _HOME.finditer(text):
        if match[1].casefold() not in accounts and not names.is_placeholder(match[1]):
            yield Hit(match.start(1), match.end(1), "USER", match[1])


def secrets(text: str) -> Iterator[Hit]:
    """Credentials that say themselves what they are: vendor tokens, PEM, JWT, URL userinfo, auth schemes."""
    if "PRIVATE KEY" in text:
        end = 0
        for match in _PEM.finditer(text):
            if match.start() < end:
                continue
            tail = text.find("-----END", match.end())
            stop = text.find("-----", tail + 8) + 5 if tail >= 0 else len(text)
            end = stop if stop > match.end() else len(text)
            yield Hit(match.start(), end, "PRIVATE_KEY", text[match.start() : end])
    if "ey" in text:
        for match in _JWT.finditer(text):
            if match[0].count(".") >= 2 or len(match[0]) > 40:
                yield Hit(match.start(), match.end(), "JWT", match[0])
    for match in load().vendors.finditer(text):
        yield Hit(match.start(), match.end(), "SECRET", match[0])
    if "://" in text:
        yield from _userinfo(text)
    for match in _SCHEME.finditer(text):
        value = match[1].rstrip(".:")
        if len(value) >= 8 and _is_scheme_value(value, text[match.start() : match.start(1)].strip().lower()):
            scheme = match[0][:6].lower()
            yield Hit(
                match.start(1),
                match.start(1) + len(value),
                "SECRET",
                value,
                sure=scheme.startswith(("bearer", "basic")),
            )


def _userinfo(text: str) -> Iterator[Hit]:
    for pattern in (_USERINFO, _USERINFO_ODD):
        for match in pattern.finditer(text):
            user, password = match[1], match[2]
            if password is not None:
                if not names.is_placeholder(password):
                    yield Hit(match.start(2), match.end(2), "SECRET", password)
                if len(user) >= 20 and names.is_credential(user):
                    yield Hit(match.start(1), match.end(1), "SECRET", user)
            elif len(user) >= 12 and not names.is_placeholder(user) and any(char.isdigit() for char in user):
                yield Hit(match.start(1), match.end(1), "SECRET", user)


def _is_scheme_value(value: str, scheme: str) -> bool:
    if scheme.startswith("basic"):
        try:
            return b":" in base64.b64decode(value + "=" * (-len(value) % 4))
        except (binascii.Error, ValueError):
            return False
    if scheme.startswith(("bearer", "sso-key")):
        return (
            any(char.isdigit() for char in value)
            or len(value) >= 24
            or (not value.islower() and len(value) >= 12)
        )
    return len(value) >= 16 and names.is_credential(value)
