"""The live shop's customers and its third party."""

import http.client
import json
import random
import statistics
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from obsvty.demo.load import Request, made_up_card, plan_load, send_load
from obsvty.demo.shop import third_party_running
from obsvty.demo.world import MEDIAN_S, answer_time_s


def luhn_sum(card: str) -> int:
    digits = [int(c) for c in reversed(card)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits))


@given(st.integers())
def test_made_up_cards_pass_the_luhn_check(seed: int) -> None:
    card = made_up_card(random.Random(seed))
    assert len(card) == 16
    assert luhn_sum(card) % 10 == 0


def test_the_same_seed_plans_the_same_load() -> None:
    one, other = (plan_load(seconds=30, requests_per_s=6, seed="1.4.0") for _ in range(2))
    assert one == other
    assert one != plan_load(seconds=30, requests_per_s=6, seed="1.5.0")


def test_a_plan_keeps_its_rate_and_its_mix() -> None:
    plan = plan_load(seconds=1000, requests_per_s=6, seed="mix")
    assert 5700 < len(plan) < 6300
    assert [r.at_s for r in plan] == sorted(r.at_s for r in plan)
    shares = {
        kind: sum(r.kind == kind for r in plan) / len(plan) for kind in ("checkout", "products", "cart")
    }
    assert abs(shares["checkout"] - 3 / 12) < 0.03
    assert abs(shares["products"] - 5 / 12) < 0.03


def test_checkouts_carry_what_must_never_leave() -> None:
    body = json.loads(
        next(r.body for r in plan_load(seconds=60, requests_per_s=6, seed="a") if r.kind == "checkout")
    )
    assert luhn_sum(body["card"]) % 10 == 0
    assert body["email"].endswith("@mail.example")


class Shop(BaseHTTPRequestHandler):
    """Answers 500 to /cart/1, 200 to the rest."""

    def do_GET(self) -> None:
        self.send_response(500 if self.path == "/cart/1" else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_answers_are_counted_and_failures_too() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        plan = [Request(at_s=0, kind="cart", method="GET", path=f"/cart/{n}") for n in range(3)]
        seen: list[tuple[int, int]] = []
        result = send_load(
            plan,
            port=server.server_address[1],
            stop=threading.Event(),
            progress=lambda done, total: seen.append((done, total)),
        )
        server.shutdown()
    assert result == (3, 1)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nobody_listening_is_a_failed_request() -> None:
    plan = [Request(at_s=0, kind="products", method="GET", path="/products")]
    assert send_load(plan, port=1, stop=threading.Event()) == (1, 1)


def test_a_set_stop_ends_the_load_at_once() -> None:
    stop = threading.Event()
    stop.set()
    plan = [Request(at_s=3600, kind="products", method="GET", path="/products")]
    assert send_load(plan, port=1, stop=stop) == (0, 0)


def test_the_third_party_answers_and_ends(tmp_path: Path) -> None:
    with third_party_running(tmp_path) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        for path in ("/issuer/bin", "/elsewhere"):  # one connection, kept alive
            connection.request("POST", path, json.dumps({"card": "4"}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (200, {"ok": True})
        connection.close()
    assert (tmp_path / "third-party.log").read_text() == ""


def test_answer_times_lie_around_their_median() -> None:
    source = random.Random(1)
    for path, median in MEDIAN_S.items():
        drawn = statistics.median(answer_time_s(path, source) for _ in range(2000))
        assert abs(drawn / median - 1) < 0.02
