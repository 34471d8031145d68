"""What a name says about its value: `apiKey`, `STRIPE_SECRET_KEY`, `user-email`; and which values say nothing."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from obsvty.privacy.entropy import looks_random
from obsvty.privacy.rules import load
from obsvty.privacy.shapes import UUID, is_id

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PLACEHOLDER: Final = re.compile(
    r"[^A-Za-z0-9]+|[*xX.#?_-]+|\$\{?[A-Za-z0-9_.]*\}?|%\(?\w*\)?[sdr]?|:\w{1,40}|@\w{1,40}|\?\d*|\[[^\]]*\]|<[^>]*>"
    r"|\{[^}]*\}|\{\{.*\}\}"
)
# what stands unquoted after a name in code: calls and look-ups; other names, types, constants
_CODE: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*[(\[{].*|self\.\w+|os\.\w+.*")
_IDENTIFIER: Final = re.compile(
    r"[a-z_]+(?:\.[A-Za-z_]+)+|[a-z]+(?:_[a-z]+)+|[a-z_]{1,5}|_?[A-Z]+(?:_[A-Z0-9]+)+|[A-Z][a-z]{2,}(?:[A-Z][a-z]{2,})+"
)
_TEMPLATE: Final = re.compile(r"\$?\{[^{}]{0,80}\}")
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9_,.]*(?:ms|s|m|h|d|%|/s)?")
_BARE_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|digest|token)(?:%20|\+|\s)*")
_PASSWORDS: Final = frozenset(
    {"password", "passwd", "passwort", "pwd", "pswd", "pw", "pass", "passphrase", "senha"}
)
_NUMERIC_SECRETS: Final = _PASSWORDS | {"otp", "totp", "pin", "cvv", "cvv2", "cvc", "code", "passcode"}


@cache
def words(name: str) -> tuple[str, ...]:
    """The words of a name, lower case."""
    found = [word.lower() for word in _WORD.findall(name)]
    return tuple(word for word in found if not (word.isdigit() and len(found) > 1))


@cache
def classify(name: str) -> str:
    """`strong`, `weak`, a personal kind such as `EMAIL`, or "" for a name that says nothing."""
    rules = load()
    parts = words(name)
    if not parts or len(parts) > 12:
        return ""
    endings = [" ".join(parts[-size:]) for size in (4, 3, 2, 1) if size <= len(parts)]
    for ending in endings:
        if ending in rules.strong:
            return "" if len(parts) > 1 and _is_counted(parts) else "strong"
        if ending in rules.personal:
            return rules.personal[ending]
    squeezed = "".join(parts)
    if any(
        squeezed.endswith(word)
        for word in ("apikey", "secretkey", "accesskey", "authtoken", "accesstoken", "password", "secret")
    ):
        return "strong"
    if [*parts][-1] in rules.weak or (len(parts) > 1 and " ".join(parts[-2:]) in rules.weak):
        if len(parts) > 1 and parts[-2] in rules.harmless_words:
            return ""
        return "weak"
    return ""


def _is_counted(parts: tuple[str, ...]) -> bool:
    return parts[0] in {"max", "min", "num", "total", "count"} and parts[-1] == "tokens"


def may_be_number(name: str) -> bool:
    """Whether a short number of this name is a secret: a PIN is, a count of tokens is not."""
    parts = words(name)
    return bool(parts) and parts[-1] in _NUMERIC_SECRETS - _PASSWORDS


def is_placeholder(value: str) -> bool:
    """A value that stands for one: `***`, `${X}`, `<TOKEN_1>`, `$1`, `?`."""
    return not value or _PLACEHOLDER.fullmatch(value) is not None


def is_harmless(value: str) -> bool:
    """A word that is no secret under any name: `none`, `true`, `expired`."""
    return value.strip("'\"`.,;:!()[]{}").casefold() in load().harmless_values


def names_a_secret(name: str, value: str, *, quoted: bool, line_start: bool) -> bool:
    """Whether `name<separator>value` in running text is a credential.

    Args:
        name: as written.
        value: as written, without its quotes.
        quoted: it had quotes; what has none may be code or prose.
        line_start: the name opens its line, as in YAML, headers and .env files.
    """
    sort = classify(name)
    if sort not in {"strong", "weak"} or is_placeholder(value) or is_harmless(value) or value == name:
        return False
    if value.startswith("$(") or _BARE_SCHEME.fullmatch(value):
        return False
    if "{" in value and sum(map(str.isalnum, _TEMPLATE.sub("", value))) < 8:
        return False  # an f-string or a template
    if not quoted and _CODE.fullmatch(value) and not any(char.isdigit() for char in value):
        return False
    last = [*words(name)][-1]
    if _NUMBER.fullmatch(value) and not (last in _NUMERIC_SECRETS and value.isdigit() and len(value) >= 3):
        return False
    if sort == "weak":
        return is_credential(value) or (
            last in {"key", "keys", "auth", "access", "license", "api"} and is_id(value) and len(value) >= 20
        )
    if last in _PASSWORDS:
        return quoted or line_start or not _IDENTIFIER.fullmatch(value)
    if quoted:
        return len(value) >= 4
    if _IDENTIFIER.fullmatch(value):
        return False
    return line_start or not value.isalpha() or not value.islower() or len(value) >= 20


def is_credential(value: str) -> bool:
    """A value that looks like one by itself."""
    bare = re.sub(r"[^A-Za-z0-9]", "", UUID.sub("", value))
    return len(bare) >= 16 and " " not in value and not is_id(value) and looks_random(bare)
