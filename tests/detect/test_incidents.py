"""What becomes an incident, since when, with which deployment; and what stays silent."""

from __future__ import annotations

from types import ModuleType

import pytest

from obsvty.detect import detect_incidents


def test_a_step_at_a_deployment_is_one_incident_that_starts_with_its_first_slow_request(
    story: ModuleType,
) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300)
    s.load("shop", "POST /checkout", 300, 600, ms=300)
    s.load("shop", "GET /cart", 0, 600, ms=20)

    (incident,) = detect_incidents(s.traces)

    (finding,) = incident.findings
    assert (finding.id, finding.kind, finding.service, finding.operation, finding.unit) == (
        "F1",
        "latency",
        "shop",
        "POST /checkout",
        "ms",
    )
    assert finding.before == pytest.approx(100, rel=0.1)
    assert finding.after == pytest.approx(300, rel=0.1)
    assert 300 <= story.seconds(incident.start) < 305
    assert incident.start == finding.change_at == incident.window.start
    assert incident.end is None
    assert incident.status == "open"
    assert incident.deployment is not None
    assert (incident.deployment.from_version, incident.deployment.to_version) == ("1.0.0", "1.1.0")
    assert incident.baseline.end <= incident.start
    assert story.seconds(incident.baseline.start) < 5
    assert story.seconds(incident.window.end) > 595


@pytest.mark.parametrize("seed", range(8))
def test_benign_deployments_are_silent(story: ModuleType, seed: int) -> None:
    s = story.Story(seed=seed)
    for n in range(1, 6):
        s.deploy("shop", n * 120, f"1.{n}.0")
    for operation, ms in (("POST /checkout", 130), ("GET /cart", 8), ("GET /products", 40)):
        s.load("shop", operation, 0, 720, rps=1.5, ms=ms, sigma=0.45, error_rate=0.01)
    assert detect_incidents(s.traces) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_pause_of_a_few_requests_is_silent(story: ModuleType, seed: int) -> None:
    s = story.Story(seed=seed)
    s.load("shop", "POST /checkout", 0, 400)
    s.load("shop", "POST /checkout", 400, 408, ms=500)
    s.load("shop", "POST /checkout", 408, 800)
    assert detect_incidents(s.traces) == []


def test_a_minute_of_slowness_in_an_hour_is_silent(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 1800, rps=1)
    s.load("shop", "POST /checkout", 1800, 1860, rps=1, ms=180)
    s.load("shop", "POST /checkout", 1860, 3600, rps=1)
    assert detect_incidents(s.traces) == []


def test_growing_traffic_alone_is_silent(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 300, rps=1)
    s.load("shop", "POST /checkout", 300, 600, rps=6)
    assert detect_incidents(s.traces) == []


def test_telemetry_that_ends_before_the_deployment_shows_no_incident(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300)
    before = list(s.spans)
    s.load("shop", "POST /checkout", 300, 600, ms=300)
    assert len(detect_incidents(s.traces)) == 1
    s.spans = before
    assert detect_incidents(s.traces) == []


def test_a_window_that_ends_before_the_deployment_shows_no_incident(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300)
    s.load("shop", "POST /checkout", 300, 600, ms=300)
    assert detect_incidents(s.traces, window=story.window(0, 300)) == []


def test_a_step_without_a_deployment_is_found(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 600)
    s.load("shop", "POST /checkout", 600, 1200, ms=200)
    (incident,) = detect_incidents(s.traces)
    assert incident.deployment is None
    assert abs(story.seconds(incident.start) - 600) < 10


def test_recovery_ends_the_incident(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300)
    s.load("shop", "POST /checkout", 300, 600, ms=300)
    s.load("shop", "POST /checkout", 600, 900)
    (incident,) = detect_incidents(s.traces)
    assert incident.status == "recovered"
    assert incident.end is not None
    assert abs(story.seconds(incident.end) - 600) < 5
    assert incident.window.end == incident.end
    assert incident.findings[0].ended_at == incident.end


def test_a_rollback_ends_the_incident_and_starts_none(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.deploy("shop", 600, "1.0.0")
    s.load("shop", "POST /checkout", 0, 300)
    s.load("shop", "POST /checkout", 300, 600, ms=300)
    s.load("shop", "POST /checkout", 600, 900)
    (incident,) = detect_incidents(s.traces)
    assert incident.deployment is not None
    assert incident.deployment.to_version == "1.1.0"
    assert incident.end is not None
    assert abs(story.seconds(incident.end) - 600) < 5


def test_a_rollout_with_both_revisions_alive_is_seen_by_the_new_revisions_requests(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 300)
    for i in range(600):
        new = i % 4 == 0
        ms = (300 if new else 100) * (1 + 0.1 * (i % 7) / 7)
        s.request("shop", "POST /checkout", 300 + i / 2, ms, version="1.1.0" if new else "1.0.0")
    (incident,) = detect_incidents(s.traces)
    assert incident.deployment is not None
    assert incident.deployment.to_version == "1.1.0"
    assert incident.findings[0].after == pytest.approx(313, rel=0.05)


def _shop_and_payments(story: ModuleType, *, slow_from: float) -> object:
    s = story.Story()
    at = 0.0
    while (at := at + float(s.rng.exponential(0.5))) < 600:
        charge = (80.0 if at < slow_from else 280.0) * float(1 + 0.1 * s.rng.random())
        answer = story.serve("payments", "POST /charge", charge, 2)
        s.request(
            "shop",
            "POST /checkout",
            at,
            charge + 40,
            calls=[story.http("pay:80", "/charge", charge + 4, 20, calls=[answer])],
        )
    return s


def test_a_slow_callee_and_its_caller_are_one_incident_led_by_what_people_feel(story: ModuleType) -> None:
    s = _shop_and_payments(story, slow_from=300)
    (incident,) = detect_incidents(s.traces)
    assert [(f.id, f.service) for f in incident.findings] == [("F1", "shop"), ("F2", "payments")]


def test_the_deployment_of_the_callee_that_became_slow_is_named_not_the_callers_of_the_same_minute(
    story: ModuleType,
) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.deploy("payments", 310, "2.0.0")
    at = 0.0
    while (at := at + float(s.rng.exponential(0.5))) < 600:
        charge = (80.0 if at < 310 else 280.0) * float(1 + 0.1 * s.rng.random())
        answer = story.serve("payments", "POST /charge", charge, 2)
        s.request(
            "shop",
            "POST /checkout",
            at,
            charge + 40,
            calls=[story.http("pay:80", "/charge", charge + 4, 20, calls=[answer])],
        )
    (incident,) = detect_incidents(s.traces)
    assert incident.service == "shop"
    assert incident.deployment is not None
    assert (incident.deployment.service, incident.deployment.to_version) == ("payments", "2.0.0")


def test_unrelated_services_that_change_together_are_two_incidents(story: ModuleType) -> None:
    s = story.Story()
    for service in ("shop", "mail"):
        s.deploy(service, 300, "1.1.0")
        s.load(service, "POST /work", 0, 300)
        s.load(service, "POST /work", 300, 600, ms=300)
    assert sorted(i.service for i in detect_incidents(s.traces)) == ["mail", "shop"]


def test_an_error_step_is_an_incident_in_percent_with_its_exception(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300, error_rate=0.01, exception="TimeoutError")
    s.load("shop", "POST /checkout", 300, 600, error_rate=0.3, exception="KeyError")
    (incident,) = detect_incidents(s.traces)
    kinds = [f.kind for f in incident.findings]
    assert kinds[0] == "errors"
    assert incident.findings[0].after == pytest.approx(30, abs=7)
    assert incident.findings[0].before < 3
    assert "exception" in kinds
    assert "KeyError" in incident.findings[kinds.index("exception")].text
    assert incident.deployment is not None


def test_new_exceptions_after_a_deployment_are_an_incident_even_when_requests_succeed(
    story: ModuleType,
) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 600)
    for i in range(12):
        s.request("shop", "POST /checkout", 310 + 20 * i, 100, exception="StockMissing")
    (incident,) = detect_incidents(s.traces)
    assert incident.findings[0].kind == "exception"
    assert incident.operation == "POST /checkout"
    assert incident.findings[0].count_after == 12


def test_ignored_services_raise_nothing(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 600)
    s.load("shop", "POST /checkout", 600, 1200, ms=200)
    assert detect_incidents(s.traces, ignore_services=["shop"]) == []


def test_ids_in_names_and_asgi_noise_do_not_hide_a_change(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    for i in range(600):
        noise = story.Call(name="GET /cart/7 http send", kind=1, ms=0.1)
        s.request("shop", f"GET /cart/{i}", i, (100 if i < 300 else 300) + i % 9, calls=[noise])
    (incident,) = detect_incidents(s.traces)
    assert incident.operation == "GET /cart/{id}"
    assert len(incident.findings) == 1


def test_two_runs_and_shuffled_rows_give_the_same_incidents(story: ModuleType) -> None:
    s = _shop_and_payments(story, slow_from=300)
    first = detect_incidents(s.traces)
    assert detect_incidents(s.traces) == first
    s.rng.shuffle(s.spans)
    assert detect_incidents(s.traces) == first


def test_the_same_change_keeps_its_id_as_data_arrives(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 300)
    s.load("shop", "POST /checkout", 300, 900, ms=300)
    ids = {i.id for end in (400, 600, 900) for i in detect_incidents(s.traces, window=story.window(0, end))}
    assert len(ids) == 1
    assert ids.pop().startswith("inc-")


def test_no_data_is_no_incident(story: ModuleType) -> None:
    assert detect_incidents(story.Story().traces) == []


def test_a_change_that_begins_a_minute_after_its_deployment_belongs_to_it(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "POST /checkout", 0, 360)
    s.load("shop", "POST /checkout", 360, 900, ms=160)
    (incident,) = detect_incidents(s.traces)
    assert abs(story.seconds(incident.start) - 360) < 5
    assert incident.deployment is not None


def test_days_of_data_are_looked_at_in_pieces_with_the_same_answer(story: ModuleType) -> None:
    hour = 3600
    s = story.Story()
    s.deploy("shop", 11 * hour, "1.1.0")
    s.load("shop", "POST /checkout", 0, 11 * hour, rps=0.02)
    s.load("shop", "POST /checkout", 11 * hour, 20 * hour, rps=0.02, ms=300)
    s.load("shop", "POST /checkout", 20 * hour, 40 * hour, rps=0.02)
    (whole,) = detect_incidents(s.traces)
    (near,) = detect_incidents(s.traces, window=story.window(8 * hour, 24 * hour))
    assert whole.id == near.id
    assert (whole.start, whole.end) == (near.start, near.end)
    assert abs(story.seconds(whole.end) - 20 * hour) < 600


def test_a_revision_that_broke_twice_makes_two_incidents(story: ModuleType) -> None:
    s = story.Story()
    for at, version, ms in ((0, "1.0.0", 100), (300, "1.1.0", 300), (600, "1.0.0", 100), (900, "1.1.0", 300)):
        s.deploy("shop", at, version)
        s.load("shop", "POST /checkout", at, at + 300, ms=ms)
    found = detect_incidents(s.traces)
    assert len({i.id for i in found}) == len(found) == 2
    assert [i.status for i in found] == ["recovered", "open"]
