"""The verdict by rules, what is ruled out, impact, service map and attribute comparison."""

from __future__ import annotations

from types import ModuleType

import pytest

from obsvty.detect import detect_incidents
from obsvty.localize import (
    Classification,
    classify_verdict,
    compare,
    edge_failures,
    edge_services,
    locate_across,
    measure_impact,
    operation_diff,
    ruled_out,
    service_map,
    traffic_ratio,
)
from obsvty.model import Incident


def _judge(s: object) -> tuple[Incident, Classification, list[str]]:
    traces = s.traces  # type: ignore[attr-defined]
    (incident,) = detect_incidents(traces)
    subject = {"service": incident.service, "operation": incident.operation}
    windows = {"before": incident.baseline, "after": incident.window}
    diff = operation_diff(traces, **subject, **windows)
    facts = {
        "traffic_ratio": traffic_ratio(traces, incident),
        "callees": edge_services(traces, **subject, window=incident.window),
    }
    judged = classify_verdict(
        incident,
        diff,
        locations=locate_across(traces, **subject, **windows),
        edge_failures=edge_failures(traces, **subject, **windows),
        **facts,
    )
    assert 0 <= judged.confidence <= 1
    return incident, judged, ruled_out(incident, diff, **facts)


def test_new_calls_at_a_deployment_are_a_code_change_and_the_rest_is_ruled_out(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 300, "1.1.0")
    answer = story.serve("payments", "POST /charge", 60, 2)
    charge = story.http("pay:80", "/charge", 64, 2, calls=[answer])
    s.load("shop", "POST /checkout", 0, 300, calls=lambda _: [charge])
    s.load(
        "shop",
        "POST /checkout",
        300,
        600,
        ms=300,
        calls=lambda _: [charge, story.http("issuer:90", "/bin", 190, 70)],
    )
    incident, judged, out = _judge(s)
    assert judged.verdict == "code_change"
    assert judged.confidence == 0.9
    assert "1 call is new" in judged.reason
    assert out[0].startswith("traffic ")
    assert out[0].endswith(" %")
    assert any(line.startswith("payments +") and line.endswith(" ms") for line in out)
    assert "no new errors" in out
    impact = measure_impact(s.traces, incident)
    assert impact.requests == incident.findings[0].count_after
    assert impact.errors == 0
    assert impact.share_of_requests > 0.95


def test_a_slow_host_without_a_deployment_is_a_dependency(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 600, calls=lambda ms: [story.http("bank:1", "/pay", ms - 20, 5)])
    s.load(
        "shop",
        "POST /checkout",
        600,
        1200,
        ms=250,
        calls=lambda ms: [story.http("bank:1", "/pay", ms - 20, 5)],
    )
    _, judged, out = _judge(s)
    assert (judged.verdict, judged.confidence) == ("dependency", 0.8)
    assert "no deployment" in out


def test_failing_calls_without_a_deployment_are_a_dependency(story: ModuleType) -> None:
    s = story.Story()
    for i in range(1200):
        failed = i > 600 and i % 3 == 0
        s.request(
            "shop",
            "POST /checkout",
            i,
            100 + i % 7,
            failed=failed,
            calls=[story.http("bank:1", "/pay", 50, 5, failed=failed)],
        )
    incident, judged, out = _judge(s)
    assert incident.findings[0].kind == "errors"
    assert judged.verdict == "dependency"
    assert "no new errors" not in out


def test_more_traffic_and_slower_requests_without_a_deployment_are_traffic(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 600, rps=1)
    s.load("shop", "POST /checkout", 600, 1200, rps=5, ms=250)
    incident, judged, out = _judge(s)
    assert judged.verdict == "traffic"
    assert "throughput" in {f.kind for f in incident.findings}
    assert not any(line.startswith("traffic") for line in out)


def test_new_calls_without_a_deployment_are_a_configuration_change(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "POST /checkout", 0, 600)
    s.load(
        "shop",
        "POST /checkout",
        600,
        1200,
        ms=300,
        calls=lambda _: [story.http("issuer:90", "/bin", 200, 20)],
    )
    assert _judge(s)[1].verdict == "configuration"


def test_one_slow_instance_without_a_deployment_is_infrastructure(story: ModuleType) -> None:
    s = story.Story()
    for i in range(1600):
        slow = i > 800 and i % 4 != 0
        s.request(
            "shop",
            "POST /checkout",
            i,
            (900 if slow else 80) + i % 9,
            instance="a" if slow or i % 4 == 1 else "b",
        )
    _, judged, _ = _judge(s)
    assert (judged.verdict, judged.confidence) == ("infrastructure", 0.7)


def test_the_deployment_of_a_callee_that_spends_the_time_is_a_code_change(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("payments", 300, "2.0.0")

    def calls(ms: float) -> list[object]:
        return [
            story.http(
                "pay:80", "/charge", ms - 20, 5, calls=[story.serve("payments", "POST /charge", ms - 25, 2)]
            )
        ]

    s.load("shop", "POST /checkout", 0, 300, calls=calls)
    s.load("shop", "POST /checkout", 300, 600, ms=300, calls=calls)
    incident, judged, _ = _judge(s)
    assert incident.deployment is not None
    assert incident.deployment.service == "payments"
    assert (judged.verdict, judged.confidence) == ("code_change", 0.8)


def test_the_service_map_tells_services_databases_and_hosts_apart(story: ModuleType) -> None:
    s = story.Story()
    answer = story.serve("payments", "POST /charge", 60, 2)
    calls = [
        story.http("pay:80", "/charge", 64, 2, calls=[answer]),
        story.sql("SELECT 1", 1),
        story.http("x:1", "/", 9),
    ]
    for i in range(4):
        s.request("shop", "POST /checkout", i, 100, calls=calls)
    found = service_map(s.traces, story.window(0, 3))
    assert found.services == ("payments", "shop")
    assert [(e.source, e.target, e.target_kind, e.calls) for e in found.edges] == [
        ("shop", "payments", "service", 3),
        ("shop", "sqlite", "database", 3),
        ("shop", "x:1", "external", 3),
    ]
    assert found.edges[0].p50_ms == pytest.approx(60)


def test_compare_names_the_attribute_value_that_the_slow_window_shares(story: ModuleType) -> None:
    s = story.Story()
    for i in range(200):
        region = "eu" if i % 2 else "us"
        s.request("shop", "POST /checkout", i, 100, attributes={"region": region, "request.id": f"r{i}"})
    for i in range(200):
        region = "eu" if i % 10 == 0 else "us"
        s.request(
            "shop", "POST /checkout", 200 + i, 100, attributes={"region": region, "request.id": f"q{i}"}
        )
    found = compare(s.traces, baseline=story.window(0, 200), window=story.window(200, 400))
    assert [(d.key, d.value, round(d.share_inside, 2)) for d in found] == [
        ("region", "eu", 0.1),
        ("region", "us", 0.9),
    ]
    assert found[1].effect > 0.3
    assert found[0].effect < -0.3


def test_compare_does_not_report_attributes_that_an_sdk_upgrade_renamed(story: ModuleType) -> None:
    s = story.Story()
    for i in range(100):
        old = {"http.method": "POST", "http.scheme": "https", "http.flavor": "1.1", "tier": "a"}
        new = {
            "http.request.method": "POST",
            "url.scheme": "https",
            "network.protocol.version": "1.1",
            "tier": "a",
        }
        s.request("shop", "POST /checkout", i, 100, attributes=old)
        s.request("shop", "POST /checkout", 200 + i, 100, attributes=new)
    assert compare(s.traces, baseline=story.window(0, 200), window=story.window(200, 400)) == []


def test_compare_sees_a_new_version_and_can_be_narrowed(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 200, "1.1.0")
    s.load("shop", "POST /checkout", 0, 400)
    s.load("mail", "POST /send", 0, 200)
    windows = {"baseline": story.window(0, 200), "window": story.window(200, 400)}
    assert {d.key for d in compare(s.traces, **windows, service="shop")} == {
        "service.version",
        "vcs.ref.head.revision",
    }
    assert ("service", "mail") in {(d.key, d.value) for d in compare(s.traces, **windows)}
    assert compare(s.traces, **windows, service="mail") == []


def test_an_attribute_that_only_one_window_has_is_told_once(story: ModuleType) -> None:
    s = story.Story()
    for i in range(100):
        s.request("shop", "POST /checkout", i, 100)
        s.request("shop", "POST /checkout", 200 + i, 100, attributes={"flag": "abc"[i % 3]})
    found = compare(s.traces, baseline=story.window(0, 200), window=story.window(200, 400))
    assert [(d.key, d.value) for d in found] == [("flag", "a")]
