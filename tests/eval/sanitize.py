"""What leaks and what is destroyed: values of 30 kinds in 40 shapes of telemetry, and telemetry that must not change.

Run with `pytest -m slow tests/eval/sanitize.py -s`. Values are made up and seeded. A leak is a value that can be
read in the output as it is or in any decoded form. The floors are what was measured when they were written down.
"""

from __future__ import annotations

import base64
import json
import random
import string
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from obsvty.model import JsonValue
from obsvty.privacy.sanitizer import Sanitizer
from obsvty.privacy.shapes import IBAN_LENGTHS, iban_length, luhn
from obsvty.privacy.views import decoded_texts

pytestmark = pytest.mark.slow

SEEDS: Final = range(3)
FLOOR_KIND: Final = 0.97  # of each kind, over all shapes
FLOOR_ALL: Final = 0.995
FLOOR_BENIGN: Final = 0.995

Make = Callable[[random.Random], str]
Shape = Callable[[str], JsonValue]


def chars(alphabet: str, size: int) -> Make:
    return lambda rng: "".join(rng.choice(alphabet) for _ in range(size))


BASE62: Final = string.ascii_letters + string.digits
HEX: Final = "0123456789abcdef"
DIGITS: Final = string.digits


def card(prefix: str, size: int) -> Make:
    def make(rng: random.Random) -> str:
        body = prefix + "".join(rng.choice(DIGITS) for _ in range(size - len(prefix) - 1))
        return next(body + digit for digit in DIGITS if luhn(body + digit))

    return make


def iban(country: str) -> Make:
    def make(rng: random.Random) -> str:
        body = "".join(rng.choice(DIGITS) for _ in range(IBAN_LENGTHS[country] - 4))
        return next(run for check in range(2, 99) if iban_length(run := f"{country}{check:02d}{body}"))

    return make


def email(rng: random.Random) -> str:
    first, last = rng.choice(["ana", "bo", "chi", "dee"]), rng.choice(["prado", "lind", "okafor"])
    return f"{first}.{last}{rng.randrange(1000)}@{rng.choice(['shop', 'mail', 'corp'])}.{rng.choice(['example', 'pt'])}"


def jwt(rng: random.Random) -> str:
    parts = [
        '{"alg":"HS256","typ":"JWT"}',
        json.dumps({"sub": str(rng.randrange(10**9))}),
        chars(BASE62, 32)(rng),
    ]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


SECRETS: Final[Mapping[str, Make]] = {
    "aws key id": lambda rng: "AKIA" + chars("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)(rng),
    "github": lambda rng: "ghp_" + chars(BASE62, 36)(rng),
    "gitlab": lambda rng: "glpat-" + chars(BASE62, 20)(rng),
    "slack": lambda rng: f"xoxb-{rng.randrange(10**10, 10**11)}-" + chars(BASE62, 24)(rng),
    "stripe": lambda rng: "sk_live_" + chars(BASE62, 24)(rng),
    "openai": lambda rng: "sk-proj-" + chars(BASE62, 48)(rng),
    "anthropic": lambda rng: "sk-ant-api03-" + chars(BASE62, 60)(rng),
    "google": lambda rng: "AIza" + chars(BASE62, 35)(rng),
    "sendgrid": lambda rng: f"SG.{chars(BASE62, 22)(rng)}.{chars(BASE62, 43)(rng)}",
    "npm": lambda rng: "npm_" + chars(BASE62, 36)(rng),
    "pypi": lambda rng: "pypi-AgEIcHlwaS5vcmc" + chars(BASE62, 50)(rng),
    "jwt": jwt,
    "base62 32": chars(BASE62, 32),
    "base62 20": chars(BASE62, 20),
    "base36 40": chars(string.ascii_lowercase + DIGITS, 40),
    "base64 44": lambda rng: base64.b64encode(rng.randbytes(32)).decode(),
}
NAMED: Final[Mapping[str, Make]] = {  # like an id: only a name beside it gives it away
    "hex 32": chars(HEX, 32),
    "hex 64": chars(HEX, 64),
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "password": lambda rng: (
        f"{rng.choice(['Summer', 'blue', 'Tr0ub'])}{chars(BASE62, 4)(rng)}!{rng.randrange(99)}"
    ),
}
PERSONAL: Final[Mapping[str, Make]] = {
    "email": email,
    "visa": card("4", 16),
    "mastercard": card("53", 16),
    "amex": card("37", 15),
    "iban de": iban("DE"),
    "iban pt": iban("PT"),
    "ipv4": lambda rng: (
        f"{rng.choice([8, 23, 81, 213])}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    ),
    "ipv6": lambda rng: (
        f"2a02:{rng.randrange(1, 65535):x}:{rng.randrange(1, 65535):x}::{rng.randrange(1, 65535):x}"
    ),
    "mac": lambda rng: ":".join(f"{rng.randrange(16, 256):02x}" for _ in range(6)),
    "phone": lambda rng: f"+351 91{rng.randrange(10)} {rng.randrange(100, 999)} {rng.randrange(100, 999)}",
}


def quoted(value: str) -> str:
    return urllib.parse.quote(value, safe="")


FREE: Final[Mapping[str, Shape]] = {  # nothing beside the value says what it is
    "prose": lambda v: f"retrying with {v} after 3 attempts",
    "quoted": lambda v: f'could not resolve "{v}" in region eu-west-1',
    "csv": lambda v: f"2026-11-23,42,{v},active",
    "exception": lambda v: {"exception.message": f"login rejected: {v} not accepted"},
    "python stack": lambda v: {
        "exception.stacktrace": f'  File "/srv/app.py", line 8, in login\napp.AuthError: {v}\n'
    },
    "java stack": lambda v: {
        "exception.stacktrace": f"com.shop.Auth: {v}\n\tat com.shop.Main.main(Main.java:12)"
    },
    "chat": lambda v: {
        "gen_ai.input.messages": json.dumps([{"role": "user", "content": f"my login is {v}, why?"}])
    },
    "tool arguments": lambda v: {"gen_ai.tool.call.arguments": json.dumps({"to": v, "n": 1})},
    "list of maps": lambda v: {"app.items": [{"sku": "A-1", "note": v}]},
    "json in json": lambda v: json.dumps({"body": json.dumps({"note": v})}),
    "attribute name": lambda v: {f"cache.hit:{v}": 1},
    "base64": lambda v: f"payload {base64.b64encode(f'value {v} end'.encode()).decode()} dropped",
    "hex": lambda v: f"raw=0x{v.encode().hex()} len=3",
    "percent": lambda v: "q=" + "".join(f"%{byte:02x}" for byte in v.encode()) + "&page=2",
    "percent twice": lambda v: f"next={quoted(f'/a?note={quoted(v)}')}&page=2",
    "zero width": lambda v: f"contact {v[: len(v) // 2]}\u200b{v[len(v) // 2 :]} now",
    "full width": lambda v: (
        "ref " + "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in v) + " end"
    ),
    "escapes": lambda v: '{"u":"' + "".join(f"\\u{ord(c):04x}" for c in v) + '"}',
    "bytes": lambda v: f"body={f'v={v}'.encode()!r} status=400",
}
KEYED: Final[Mapping[str, Shape]] = {  # a name or a place beside the value says what it is
    "bearer": lambda v: {"http.request.header.authorization": f"Bearer {v}"},
    "api key header": lambda v: {"HTTP.REQUEST.HEADER.X-API-KEY": [v]},
    "cookie": lambda v: {"http.request.header.cookie": f"theme=dark; sid={v}"},
    "grpc metadata": lambda v: {"rpc.grpc.request.metadata.authorization": [v]},
    "userinfo": lambda v: {"url.full": f"https://svc:{quoted(v)}@api.shop.example/v1?page=2"},
    "query": lambda v: f"GET https://api.shop.example/v1?page=2&access_token={quoted(v)}&sort=asc",
    "connection": lambda v: f"DATABASE_URL=postgresql://app:{quoted(v)}@db.internal:5432/shop",
    "sql literal": lambda v: {"db.query.text": f"SELECT 1 FROM users WHERE token = '{v}' AND id = $1"},
    "sql parameter": lambda v: {"db.query.parameter.token": v},
    "flag": lambda v: {"process.command_line": f"sync --user=root --password={v} --host=db"},
    "argv": lambda v: {"process.command_args": ["psql", "--token", v, "-h", "db"]},
    "environment": lambda v: {"process.environment_variable.DB_PASSWORD": v},
    "env dump": lambda v: f"LANG=C.UTF-8 SHOP_API_KEY={v} PORT=8080",
    "json log": lambda v: json.dumps({"level": "error", "user": {"id": 4, "password": v}}),
    "python repr": lambda v: f"payload rejected: { ({'password': v, 'qty': 2})!r}",
    "java": lambda v: f"Saved User(id=42, password={v}, role=ADMIN) in 12 ms",
    "logfmt": lambda v: f'level=error msg="auth failed" api_key={v} dur=12ms',
    "yaml": lambda v: f"kind: Secret\nstringData:\n  password: {v}\n",
    "xml": lambda v: f"<Login><Password>{v}</Password><Locale>en</Locale></Login>",
    "name and value": lambda v: json.dumps([{"name": "STRIPE_SECRET_KEY", "value": v}]),
    "form": lambda v: {"http.request.body": f"grant_type=password&password={quoted(v)}&scope=read"},
}


def benign(rng: random.Random) -> list[JsonValue]:
    trace, span, sha = chars(HEX, 32)(rng), chars(HEX, 16)(rng), chars(HEX, 40)(rng)
    some, now = (
        str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        1_763_900_000_000_000_000 + rng.randrange(10**17),
    )
    pod = f"checkout-{chars(HEX, 9)(rng)}-{chars('bcdfghjklmnpqrstvwxz', 5)(rng)}"
    return [
        {"trace_id": trace, "span_id": span, "start_time_unix_nano": now, "observed": str(now)},
        f"trace_id={trace} span_id={span} done; traceparent: 00-{trace}-{span}-01",
        f"deployed {sha} ({sha[:7]}) of shop 1.{rng.randrange(30)}.0-rc.1+build.{sha[:7]}",
        f"request_id={some} etag {chars(HEX, 32)(rng)} image shop@sha256:{chars(HEX, 64)(rng)}",
        {"k8s.pod.name": pod, "host.id": f"i-{chars(HEX, 17)(rng)}", "service.instance.id": some},
        f"pod {pod} OOMKilled; connect to 10.{rng.randrange(256)}.3.4:5432 refused, retry 127.0.0.1:4317",
        f'  File "/srv/app/cards.py", line {rng.randrange(900)}, in validate\n    return check(card, token=token)',
        {
            "db.query.text": "UPDATE stock SET held = held - ? WHERE sku = $1 AND token_hash IN (%s)",
            "db.system": "sqlite",
        },
        {"url.full": f"https://api.shop.example/v1/orders/{rng.randrange(10**6)}?page=2&sort=-created_at"},
        f"diff --git a/app/c.py b/app/c.py\nindex {sha[:7]}..{trace[:7]} 100644\n@@ -1,7 +1,9 @@ def f(token: str):",
        f"token refresh took {rng.randrange(900)}ms; max_tokens=4096; password=*** auth=none key=orders:2024",
        f"offset={rng.randrange(10**12)} bytes={rng.randrange(10**10)} seq={now} ts={now // 10**6} took 1.5 s",
    ]


def readable(value: JsonValue, planted: str) -> bool:
    return any(planted in text for text in decoded_texts(json.dumps(value, ensure_ascii=False), depth=3))


def test_values_do_not_leak_and_telemetry_is_not_destroyed() -> None:
    tried: Counter[str] = Counter()
    leaked: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for seed in SEEDS:
        rng = random.Random(seed)
        for kinds, shapes in ((SECRETS, FREE), (SECRETS, KEYED), (NAMED, KEYED), (PERSONAL, FREE)):
            for kind, make in kinds.items():
                for shape, write in shapes.items():
                    value = make(rng)
                    tried[kind] += 1
                    if readable(Sanitizer().value(write(value)), value):
                        leaked[kind] += 1
                        examples[f"{kind} / {shape}"] = value
    changed: list[JsonValue] = []
    total = 0
    for seed in range(100, 140):
        cases = benign(random.Random(seed))
        total += len(cases)
        changed.extend(case for case in cases if Sanitizer().value(case) != case)
    for kind in tried:
        print(f"{kind:12} {1 - leaked[kind] / tried[kind]:7.4f}  n={tried[kind]}")
    recall, utility = 1 - leaked.total() / tried.total(), 1 - len(changed) / total
    print(f"{'all':12} {recall:7.4f}  n={tried.total()}   leaks: {sorted(examples)}")
    print(f"{'unchanged':12} {utility:7.4f}  n={total}")
    assert all(1 - leaked[kind] / tried[kind] >= FLOOR_KIND for kind in tried), examples
    assert recall >= FLOOR_ALL, examples
    assert utility >= FLOOR_BENIGN, changed


def test_the_harness_sees_a_leak() -> None:
    rng = random.Random(0)
    shapes = {**FREE, **KEYED}
    seen = [readable(write(value := chars(BASE62, 24)(rng)), value) for write in shapes.values()]
    # zero-width and full-width text is read by normalizing, as a person would
    assert all(seen)
