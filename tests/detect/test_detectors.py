"""Single detectors: latency, errors, exceptions, throughput, and windows that a person chose."""

from __future__ import annotations

from types import ModuleType

import pytest

from obsvty.detect import (
    find_error_steps,
    find_exceptions,
    find_latency_steps,
    find_throughput_steps,
    incident_of_window,
)


def test_a_small_step_is_found_at_a_deployment_before_it_could_be_without_one(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "GET /", 0, 300)
    s.load("shop", "GET /", 300, 330, ms=140)
    (finding,) = find_latency_steps(s.traces)
    assert finding.count_after > 40
    assert finding.p_value < 1e-6
    assert "p50" in finding.text
    for span in s.spans:
        span["service_version"] = span["vcs_revision"] = None
    assert find_latency_steps(s.traces) == []


def test_steps_below_the_thresholds_are_no_findings(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "GET /small", 0, 300, ms=1.0)
    s.load("shop", "GET /small", 300, 600, ms=3.0)
    s.load("shop", "GET /near", 0, 300, ms=100)
    s.load("shop", "GET /near", 300, 600, ms=112)
    assert find_latency_steps(s.traces) == []
    assert len(find_latency_steps(s.traces, min_ratio=1.05, min_effect_ms=1.0)) == 2


def test_faster_is_no_finding(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "GET /", 0, 300, ms=300)
    s.load("shop", "GET /", 300, 600, ms=100)
    assert find_latency_steps(s.traces) == []


def test_too_few_requests_are_no_finding(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "GET /", 0, 300)
    for i in range(7):
        s.request("shop", "GET /", 300 + i, 900)
    assert find_latency_steps(s.traces) == []
    s.request("shop", "GET /", 310, 900)
    assert len(find_latency_steps(s.traces)) == 1


def test_cold_caches_after_a_deployment_are_no_finding(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 600, "1.1.0")
    s.load("shop", "GET /", 0, 600)
    s.load("shop", "GET /", 600, 620, ms=400)
    s.load("shop", "GET /", 620, 1200)
    assert find_latency_steps(s.traces) == []


def test_a_change_that_ended_says_when(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 900)
    s.load("shop", "GET /", 900, 1500, ms=250)
    s.load("shop", "GET /", 1500, 2400)
    (finding,) = find_latency_steps(s.traces)
    assert story.seconds(finding.change_at) == pytest.approx(900, abs=5)
    assert story.seconds(finding.ended_at) == pytest.approx(1500, abs=5)


def test_an_error_step_counts_http_500_and_error_status(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 600)
    s.load("shop", "GET /", 600, 1200, error_rate=0.4)
    for span in s.spans[::2]:
        if span["status_code"] == 2:
            span["status_code"], span["http_status"] = 0, 503
    (finding,) = find_error_steps(s.traces)
    assert (finding.kind, finding.unit, finding.before) == ("errors", "%", 0.0)
    assert finding.after == pytest.approx(40, abs=6)
    assert story.seconds(finding.change_at) == pytest.approx(600, abs=10)


def test_rare_errors_that_stay_rare_are_no_finding(story: ModuleType) -> None:
    for seed in range(4):
        s = story.Story(seed=seed)
        s.deploy("shop", 300, "1.1.0")
        s.load("shop", "GET /", 0, 900, rps=4, error_rate=0.01)
        assert find_error_steps(s.traces) == []


def test_new_and_risen_exception_types_are_found_and_steady_ones_are_not(story: ModuleType) -> None:
    s = story.Story()
    for i in range(60):
        s.request("shop", "GET /", i, 10, exception="Steady")
        s.request("shop", "GET /", 60 + i, 10, exception="Steady")
    for i in range(20):
        s.request("shop", "GET /", 70 + i, 10, exception="New")
        s.request("shop", "GET /", 80 + i, 10, exception="Risen")
    s.request("shop", "GET /", 5, 10, exception="Risen")
    found = find_exceptions(s.traces, baseline=story.window(0, 60), window=story.window(60, 120))
    assert [(f.count_before, f.count_after, f.unit) for f in found] == [(0, 20, "/min"), (1, 20, "/min")]
    assert found[0].text.startswith("New in GET / (shop)")
    assert found[0].operation == "GET /"
    assert story.seconds(found[0].change_at) == pytest.approx(70, abs=1e-3)


def test_exceptions_in_logs_count_once_beside_the_span_event(story: ModuleType) -> None:
    s = story.Story()
    for i in range(5):
        trace = s.request("shop", "GET /", 70 + i, 10, exception="New")
        s.log("shop", 70 + i, "boom", 17)
        s.records[-1] |= {
            "trace_id": trace,
            "span_id": s.spans[-1]["span_id"],
            "deployment_env": "prod",
            "attributes": [("exception.type", "New")],
        }
    for i in range(4):
        s.log("shop", 80 + i, "bang", 17)
        s.records[-1]["attributes"] = [("exception.type", "OnlyLogged")]
    found = find_exceptions(s.traces, baseline=story.window(0, 60), window=story.window(60, 120), logs=s.logs)
    assert [f.count_after for f in found] == [5, 4]


def test_a_large_rise_and_a_large_fall_of_traffic_are_findings(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /rise", 0, 300, rps=1)
    s.load("shop", "GET /rise", 300, 600, rps=5)
    s.load("shop", "GET /fall", 0, 300, rps=5)
    s.load("shop", "GET /fall", 300, 600, rps=0.5)
    s.load("shop", "GET /same", 0, 600, rps=3)
    found = {f.operation: f for f in find_throughput_steps(s.traces)}
    assert set(found) == {"GET /rise", "GET /fall"}
    assert found["GET /rise"].after == pytest.approx(300, rel=0.15)
    assert found["GET /fall"].after == pytest.approx(30, rel=0.35)
    assert story.seconds(found["GET /rise"].change_at) == pytest.approx(300, abs=20)


def test_a_pause_of_all_telemetry_is_no_fall_of_traffic(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 200)
    s.load("shop", "GET /", 400, 600)
    assert find_throughput_steps(s.traces) == []


def test_a_chosen_window_has_the_id_that_detection_gives_its_change(story: ModuleType) -> None:
    from obsvty.detect import detect_incidents

    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    s.load("shop", "GET /", 0, 300)
    s.load("shop", "GET /", 300, 600, ms=300)
    chosen = story.window(310, 500)
    found = incident_of_window(s.traces, s.logs, window=chosen)
    assert found is not None
    assert found.id == detect_incidents(s.traces)[0].id
    assert found.window == chosen
    assert found.baseline == story.window(120, 310)


def test_a_chosen_window_tells_what_detection_would_not(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 600, rps=1)
    s.load("shop", "GET /", 600, 612, rps=1, ms=200)
    s.load("shop", "GET /", 612, 1200, rps=1)
    s.load("shop", "GET /same", 0, 1200, rps=1)
    windows = {"window": story.window(600, 612), "baseline": story.window(0, 600)}
    assert find_latency_steps(s.traces) == []
    found = incident_of_window(s.traces, s.logs, **windows)
    assert found is not None
    assert (found.service, found.operation, found.deployment) == ("shop", "GET /", None)
    assert incident_of_window(s.traces, s.logs, **windows, service="mail") is None
    assert incident_of_window(s.traces, s.logs, window=story.window(2000, 2100)) is None
