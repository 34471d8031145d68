"""Customers of the live shop: an open-loop load, planned first, then sent on time, however slow it gets."""

from __future__ import annotations

import http
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

Kind = Literal["checkout", "products", "cart"]
_KINDS: tuple[Kind, ...] = ("checkout", "products", "cart")
_WEIGHTS = (3, 5, 4)
_TIMEOUT_S = 10.0
_IN_FLIGHT = 64  # at 6 requests a second and 0.5 s an answer about 3 are; beyond 64 the load is not open


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request and when to send it, in seconds after the load starts."""

    at_s: float
    kind: Kind
    method: str
    path: str
    body: str = ""


def made_up_card(random_source: random.Random) -> str:
    """A made-up card number of 16 digits that passes the Luhn check, as a leaking log would hold."""
    digits = [4] + [random_source.randrange(10) for _ in range(14)]
    total = sum(d if i % 2 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits)))
    return "".join(map(str, digits)) + str(-total % 10)


def plan_load(*, seconds: float, requests_per_s: float, seed: str) -> list[Request]:
    """The requests of one deployment: Poisson arrivals, 3 checkouts to 5 product lists to 4 carts.

    The same seed gives the same requests.
    """
    source = random.Random(seed)  # noqa: S311 # made-up customers, not keys
    plan: list[Request] = []
    at_s = source.expovariate(requests_per_s)
    while at_s < seconds:
        kind = source.choices(_KINDS, _WEIGHTS)[0]
        cart = source.randrange(5000)
        if kind == "checkout":
            body = json.dumps(
                {"cart_id": cart, "card": made_up_card(source), "email": f"user{cart}@mail.example"}
            )
            plan.append(Request(at_s=at_s, kind=kind, method="POST", path="/checkout", body=body))
        else:
            path = "/products" if kind == "products" else f"/cart/{cart}"
            plan.append(Request(at_s=at_s, kind=kind, method="GET", path=path))
        at_s += source.expovariate(requests_per_s)
    return plan


def send_load(
    plan: Sequence[Request],
    *,
    port: int,
    stop: threading.Event,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Send each request at its time to 127.0.0.1:`port`; returns how many were sent and how many failed.

    Setting `stop` ends the load early; what is in flight is waited for.
    """
    start = time.monotonic()
    answers: list[bool] = []
    with ThreadPoolExecutor(max_workers=_IN_FLIGHT, thread_name_prefix="customer") as customers:
        for sent, request in enumerate(plan):
            if stop.wait(max(0.0, start + request.at_s - time.monotonic())):
                break
            customers.submit(lambda r=request: answers.append(_send(r, port)))
            if progress:
                progress(sent + 1, len(plan))
    return len(answers), answers.count(False)


def _send(request: Request, port: int) -> bool:
    """Whether the shop answered with success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request(
            request.method, request.path, request.body or None, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return answer.status < http.HTTPStatus.BAD_REQUEST
    finally:
        connection.close()
