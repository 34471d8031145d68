import base64
import gzip
import json
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from obsvty.errors import SettingsError
from obsvty.privacy.sanitizer import Sanitizer
from obsvty.privacy.structure import MAX_VALUE_CHARS
from obsvty.privacy.views import decoded_texts

EMAIL = "ana.silva@shop.example"
KEY = "x7Kq2mPz9vRw4tYs8nLd6fGhJb3c"


def test_the_demo_capture_leaves_no_card_and_no_email() -> None:
    bodies = list(log_bodies())
    joined = "\n".join(bodies)
    cards = set(re.findall(r"\b4\d{15}\b", joined))
    emails = set(re.findall(r"[\w.]+@[\w.]+\w", joined))
    assert len(cards) >= 60
    assert len(emails) >= 60
    sanitizer = Sanitizer()
    clean = [sanitizer.text(body) for body in bodies]
    for text in decoded_texts("\n".join(clean)):
        assert not [value for value in cards | emails if value in text]
    assert sanitizer.redactions["card"] == len(re.findall(r"\b4\d{15}\b", joined))
    assert set(sanitizer.redactions) == {"card", "email"}
    assert Sanitizer().document(joined).count("<CARD_") == sanitizer.redactions["card"]


def log_bodies() -> Iterator[str]:
    raw = files("obsvty.demo").joinpath("data/shop.otlp.jsonl.gz").read_bytes()
    for line in gzip.decompress(raw).splitlines():
        for resource in json.loads(line).get("resourceLogs", ()):
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    yield record.get("body", {}).get("stringValue", "")


BENIGN = [
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 checkout finished",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "deployed 3580ae37becc820304b2746c8617e59575eb4708 (was 7831108) of shop 1.5.0 by pipeline 48213",
    "request_id=2b4a58dc-94db-4e12-854f-2ef8e11b9aeb order 019287ab-1234-7abc-8def-0123456789ab accepted",
    "job 01HZX3T5V7W9Y1A3C5E7G9J1K3 moved; ts=1763900123456 offset=123456789012 seq=1763900123456789012",
    "connect to 10.2.3.4:5432 refused; retry 127.0.0.1:9090 then [::1]:4317 at 2026-11-23T15:00:39.123Z",
    '  File "/srv/app/cards.py", line 23, in validate\n    return check(card, token=token, password=pw)',
    "\tat com.shop.Auth.check(Auth.java:88)\n\t... 14 more",
    "SELECT id, token_hash FROM api_tokens WHERE id = $1 AND state IN (?, %s) LIMIT 20",
    "@@ -10,7 +10,9 @@ def validate(card: str) -> dict:\n+    token: str = settings.token\n+@router.post('/checkout')",
    'GET /api/v2/orders/812345/items?page=2&limit=50 HTTP/1.1" 200 - 493 ms (x3.7), 65 requests',
    "POST /checkout (shop) p50 134 -> 493 ms since 14:59:31 UTC; 100 % of checkouts; $1,299.00",
    "image registry.example/shop@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "checkout-7f9c8d6b5-x7k2p in prod: OOMKilled, exit code 137; segment-00000000000048213377.log",
    "max_tokens=4096 prompt_tokens=812; CSRF token mismatch; auth=none; password=*** key=orders:2024",
    "refresh token expired; secret rotation in 30 days; token: str; apiKey: undefined; Bearer token missing",
    "getUserTokenRefreshHandlerFactory AbstractSingletonProxyFactoryBean user_session_token_refresh_interval_ms",
    "https://github.com/example/shop/commit/d34db33f4c0a434ba026a098f2f6401d6aa17bdc#diff-0123456789abcdef",
    "Chrome/129.0.0.0 Safari/537.36; version 1.2.3.4; git@github.com:example/shop.git",
    "X-Request-Id=req_011CSHoEeqs5C35K2UUqR7Fy memberId=consumer-shop-1-2b4a58dc-94db-4e12-854f-2ef8e11b9aeb",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
    "<EMAIL_1> and <CARD_2> were here; \x1b[31mred\x1b[0m; C:\\app\\main.py:12; 50 % done; a & b; naïve café → ok",
]


@pytest.mark.parametrize("text", BENIGN)
def test_what_telemetry_needs_is_not_touched(text: str) -> None:
    assert Sanitizer().text(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (
            f"https://svc:{KEY}@api.shop.example/v1?page=2",
            "https://svc:<SECRET_1>@api.shop.example/v1?page=2",
        ),
        (
            f"GET /v1/items?page=2&access_token={KEY}&sort=asc",
            "GET /v1/items?page=2&access_token=<SECRET_1>&sort=asc",
        ),
        (f"db: postgresql://app:{KEY}@db:5432/shop", "db: postgresql://app:<SECRET_1>@db:5432/shop"),
        (
            f"curl -H 'Authorization: Bearer {KEY}' https://x.example",
            "curl -H 'Authorization: Bearer <SECRET_1>' https://x.example",
        ),
        (
            f"mysqldump --user=root --password={KEY} --host=db",
            "mysqldump --user=root --password=<SECRET_1> --host=db",
        ),
        (
            "{ID:42 Email:ana@shop.example Password:hunter2 Role:admin}",
            "{ID:42 Email:<EMAIL_1> Password:<SECRET_1> Role:admin}",
        ),
        (
            "DETAIL:  Key (email)=(ana@shop.example) already exists.",
            "DETAIL:  Key (email)=(<EMAIL_1>) already exists.",
        ),
        ("card 4003 5494 9327 3416 declined", "card <CARD_1> declined"),
        ("paid from DE89 3704 0044 0532 0130 00 today", "paid from <IBAN_1> today"),
        ("client 208.223.85.182 called 10.0.0.1", "client <IP_1> called 10.0.0.1"),
        (
            "/home/asilva/shop/main.py:12 and /home/app/main.py:3",
            "/home/<USER_1>/shop/main.py:12 and /home/app/main.py:3",
        ),
        ("call me at +351 912 345 678 please", "call me at <PHONE_1> please"),
        (
            f'{{"name": "STRIPE_KEY", "value": "{KEY}", "n": 1}}',
            '{"name": "STRIPE_KEY", "value": "<SECRET_1>", "n": 1}',
        ),
        (
            "<Login><Password>hunter2</Password><Locale>en</Locale></Login>",
            "<Login><Password><SECRET_1></Password><Locale>en</Locale></Login>",
        ),
    ],
)
def test_the_value_goes_and_its_surroundings_stay(raw: str, clean: str) -> None:
    assert Sanitizer().text(raw) == clean


def encodings(value: str) -> Iterator[str]:
    yield "".join(f"%{byte:02x}" for byte in value.encode())
    yield value.replace("@", "%2540").replace(".", "%252E")
    yield "".join(f"\\u{ord(char):04x}" for char in value)
    yield "".join(f"\\x{ord(char):02x}" for char in value)
    yield "".join(f"&#{ord(char)};" for char in value)
    yield "".join(chr(ord(char) + 0xFEE0) for char in value)
    yield value[:5] + "\u200b" + value[5:]
    yield value.encode().hex()
    yield base64.b64encode(f"mail {value} end".encode()).decode()
    yield base64.urlsafe_b64encode(f"mail {value} end?>".encode()).decode().rstrip("=")
    yield json.dumps(json.dumps({"a": json.dumps({"mail": value})}))


@pytest.mark.parametrize("written", list(encodings(EMAIL)))
def test_a_value_is_found_in_every_encoding(written: str) -> None:
    clean = Sanitizer().text(f"queue payload {written} could not be read")
    assert "<" in clean
    assert "queue payload" in clean
    assert "could not be read" in clean
    assert all(EMAIL not in text for text in decoded_texts(clean, depth=3))


def test_a_value_redacted_once_is_replaced_everywhere_later() -> None:
    sanitizer = Sanitizer()
    sanitizer.attrs({"enduser.id": "lgn842x"})
    assert sanitizer.text("no user LGN842X in realm") == "no user <USER_1> in realm"
    encoded = base64.b64encode(b"user lgn842x is locked").decode()
    assert sanitizer.text(f"body {encoded}").startswith("body <USER_")
    early_and_late = {"exception.message": "no user Ana Prado", "user.full_name": "Ana Prado"}
    assert sanitizer.attrs(early_and_late)["exception.message"] == "no user <NAME_1>"


def test_names_of_attributes_decide() -> None:
    raw = {
        "HTTP.REQUEST.HEADER.X-API-KEY": ["short"],
        "http.request.header.accept": ["*/*"],
        "http.request.header.x-request-id": ["2b4a58dc-94db-4e12-854f-2ef8e11b9aeb"],
        "db.query.text": "SELECT 1 FROM users WHERE mail = 'ana' AND id = $1",
        "db.query.parameter.mail": "ana",
        "process.environment_variable.HOME": "/root",
        "process.command_args": ["psql", "--token", "abc", "-h", "db"],
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.token.type": "input",
        "user_agent.original": "python-requests/2.34.2",
        "client.address": "10.1.2.3",
        "payment.card_number": 4003549493273416,
        "start_time_unix_nano": 1763900123456789012,
        "service.version": "1.2.3.4",
        f"cache.hit:{EMAIL}": 1,
    }
    assert Sanitizer().attrs(raw) == {
        "HTTP.REQUEST.HEADER.X-API-KEY": ["<SECRET_1>"],
        "http.request.header.accept": ["*/*"],
        "http.request.header.x-request-id": ["2b4a58dc-94db-4e12-854f-2ef8e11b9aeb"],
        "db.query.text": "SELECT 1 FROM users WHERE mail = '<LITERAL_1>' AND id = $1",
        "db.query.parameter.mail": "<SECRET_2>",
        "process.environment_variable.HOME": "<SECRET_3>",
        "process.command_args": ["psql", "--token", "<SECRET_4>", "-h", "db"],
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.token.type": "input",
        "user_agent.original": "python-requests/2.34.2",
        "client.address": "10.1.2.3",
        "payment.card_number": "<CARD_1>",
        "start_time_unix_nano": 1763900123456789012,
        "service.version": "1.2.3.4",
        "cache.hit:<EMAIL_1>": 1,
    }


def test_nobody_can_forge_a_pseudonym_beforehand() -> None:
    assert Sanitizer().text(f"note <EMAIL_1>; real: {EMAIL}") == "note <EMAIL_1>; real: <EMAIL_2>"


def test_the_users_rules_are_followed() -> None:
    sanitizer = Sanitizer(
        allow=(KEY, EMAIL), deny=("app.tenant", "x-internal-*"), extra={"badge": r"\bB-\d{6}\b"}
    )
    assert sanitizer.text(f"key {KEY} of {EMAIL} badge B-123456") == f"key {KEY} of <EMAIL_1> badge <BADGE_1>"
    assert sanitizer.attrs({"app.tenant": "north", "X-Internal-Zone": 7, "app.zone": "b"}) == {
        "app.tenant": "<SECRET_1>",
        "X-Internal-Zone": "<SECRET_2>",
        "app.zone": "b",
    }
    assert sanitizer.rules_digest != Sanitizer().rules_digest


@pytest.mark.parametrize("extra", [{"badge": "("}, {"badge": "a*"}, {"--": "x"}])
def test_an_unusable_rule_is_a_settings_error(extra: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Sanitizer(extra=extra)


def test_a_value_too_long_is_cut_before_it_is_scanned() -> None:
    clean = Sanitizer().text("word " * MAX_VALUE_CHARS + EMAIL)
    assert len(clean) < MAX_VALUE_CHARS + 100
    assert EMAIL not in clean
    long = "word " * MAX_VALUE_CHARS + EMAIL
    assert Sanitizer().document(long) == long.replace(EMAIL, "<EMAIL_1>")


def test_a_long_text_that_grows_by_its_pseudonyms_is_not_cut() -> None:
    raw = "ask a@b.pt\n" * (3 * MAX_VALUE_CHARS // 11)
    assert Sanitizer().document(raw) == raw.replace("a@b.pt", "<EMAIL_1>")


@pytest.mark.parametrize(
    "hostile",
    [
        "{" * 50_000,
        "[" * 50_000,
        '{"a":' * 9_000,
        "%41" * 20_000,
        "\\" * 60_000,
        "a@" * 30_000,
        "A" * 60_000,
        "4 " * 30_000,
        "=" * 60_000,
        "a=" * 30_000,
        "<a>" * 20_000,
        "::" * 30_000,
        "'" * 60_000,
        "eyJ" * 20_000,
        "key-" * 15_000,
        "a.b-" * 15_000,
    ],
)
def test_hostile_text_does_not_raise(hostile: str) -> None:
    assert Sanitizer().text(hostile)


def test_json_stays_json() -> None:
    raw = json.dumps(
        {"mail": EMAIL, "n": 1, "nested": [{"password": "hunter2"}], "none": None, "text": 'a "quote"'},
        indent=2,
    )
    clean = Sanitizer().text(f"body: {raw} end")
    assert json.loads(clean.removeprefix("body: ").removesuffix(" end")) == {
        "mail": "<EMAIL_1>", "n": 1, "nested": [{"password": "<SECRET_1>"}], "none": None, "text": 'a "quote"',
    }  # fmt: skip


def test_attributes_nested_in_rows_follow_the_same_policy() -> None:
    row = {
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "attributes": {"http.request.header.x-tenant": "north", "service.version": "1.2.3.4"},
        "http.request.header": {"x-tenant": "north"},
        "user": {"id": 8123456, "roles": ["admin"]},
        "credentials": {"primary": "abcd"},
        "redactions": {"email": 3, "password": 12, "phone": 1},
    }
    assert Sanitizer().value({"rows": [row]}) == {
        "rows": [
            {
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                "attributes": {"http.request.header.x-tenant": "<SECRET_1>", "service.version": "1.2.3.4"},
                "http.request.header": {"x-tenant": "<SECRET_1>"},
                "user": {"id": "<USER_1>", "roles": ["admin"]},
                "credentials": {"primary": "<SECRET_2>"},
                "redactions": {"email": 3, "password": 12, "phone": 1},
            }
        ]
    }
