"""Shapes of single values: checksums of numbers and shapes of ids."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Final

UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def is_card(digits: str) -> bool:
    """Luhn, an issuer's range and that issuer's length. Unix times in any unit start with 1 or are shorter."""
    size = len(digits)
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    issued = (
        (digits[0] == "4" and size in {13, 16, 19})
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in {34, 37} and size == 15)
        or ((two in {36, 38, 39} or 300 <= three <= 305) and size in {14, 16})
        or ((two == 65 or four == 6011 or 644 <= three <= 649 or two in {60, 62, 81}) and 16 <= size <= 19)
        or (3528 <= four <= 3589 and 16 <= size <= 19)
        or (four in {5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763} and 13 <= size <= 19)
        or (2200 <= four <= 2204 and 16 <= size <= 19)
        or ((two in {50, 56, 57, 58, 63, 67}) and size == 16)
    )
    return issued and len(set(digits)) > 1 and luhn(digits)


def luhn(digits: str) -> bool:
    """The check digit of card numbers."""
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban_length(run: str) -> int:
    """How many characters of a run without blanks are an IBAN; 0 when it is none."""
    size = IBAN_LENGTHS.get(run[:2], 0)
    if not size or len(run) < size:
        return 0
    number = "".join(str(int(char, 36)) for char in run[4:size] + run[:4])
    return size if int(number) % 97 == 1 else 0


def is_public_ip(text: str) -> bool:
    """A global address; private, loopback, link-local and documentation addresses are not personal."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and int(address) != 0


def _check_digit(digits: list[int], weights: range | list[int]) -> int:
    rest = sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return 0 if rest < 2 else 11 - rest


def is_cpf(text: str) -> bool:
    """Brazil's personal number, 11 digits, two of them checks."""
    digits = [int(c) for c in text if c.isdigit()]
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    first = _check_digit(digits[:9], range(10, 1, -1))
    return digits[9] == first and digits[10] == _check_digit(digits[:10], range(11, 1, -1))


def is_cnpj(text: str) -> bool:
    """Brazil's company number, 14 digits, two of them checks."""
    digits = [int(c) for c in text if c.isdigit()]
    weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    if len(digits) != 14 or len(set(digits)) == 1:
        return False
    return digits[12] == _check_digit(digits[:12], weights[1:]) and digits[13] == _check_digit(
        digits[:13], weights
    )


def is_base58check(text: str) -> bool:
    """A Bitcoin-like address with a valid checksum."""
    number = 0
    for char in text:
        index = _BASE58.find(char)
        if index < 0:
            return False
        number = number * 58 + index
    if number.bit_length() > 200:
        return False
    data = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def is_bech32(text: str) -> bool:
    """A segwit address with a valid checksum."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    lower = text.lower()
    human, _, data = lower.rpartition("1")
    values = [alphabet.find(char) for char in data]
    if not human or -1 in values:
        return False
    check = 1
    for value in [*(ord(c) >> 5 for c in human), 0, *(ord(c) & 31 for c in human), *values]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if (top >> index) & 1 else 0
    return check in {1, 0x2BC830A3}


def is_id(run: str) -> bool:
    """An id that telemetry is full of: UUID, ULID, numbers, hex of any length (Gerrit's `I...`, git's `g...` too)."""
    bare = run.strip("-_")
    if _UUID.fullmatch(bare):
        return True
    squeezed = bare.replace("-", "").replace("_", "").removeprefix("0x")
    if re.fullmatch(r"[Ig]?[0-9a-f]*|[0-9A-F]*", squeezed):
        return True
    return re.fullmatch(r"0[0-7][0-9A-HJKMNP-TV-Z]{24}", bare) is not None
