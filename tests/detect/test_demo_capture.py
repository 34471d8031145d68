"""The bundled capture, decoded as the receiver does: what detection and localization say about a real run."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import as_file, files

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest

from obsvty.detect import detect_incidents, find_deployments, find_log_changes
from obsvty.localize import (
    classify_verdict,
    edge_services,
    locate,
    locate_across,
    measure_impact,
    operation_diff,
    ruled_out,
    service_map,
    traffic_ratio,
)
from obsvty.model import Incident, OperationDiff
from obsvty.otlp.decode import decode
from obsvty.otlp.files import read_requests

OLD, NEW = "783110874c0a434ba026a098f2f6401d6aa17bdc", "3580ae37becc820304b2746c8617e59575eb4708"


@pytest.fixture(scope="module")
def tables() -> dict[str, ir.Table]:
    by_signal: dict[str, list[bytes]] = defaultdict(list)
    with as_file(files("obsvty.demo") / "data" / "shop.otlp.jsonl.gz") as path:
        for signal, body in read_requests(path):
            by_signal[signal].append(body)
    decoded: dict[str, list[pa.Table]] = defaultdict(list)
    for signal in ("traces", "logs"):
        for name, table in decode(signal, by_signal[signal]).items():
            decoded[name].append(table)
    return {name: ibis.memtable(pa.concat_tables(parts)) for name, parts in decoded.items()}


@pytest.fixture(scope="module")
def incident(tables: dict[str, ir.Table]) -> Incident:
    (found,) = detect_incidents(tables["traces"], tables["logs"])
    return found


@pytest.fixture(scope="module")
def diff(tables: dict[str, ir.Table], incident: Incident) -> OperationDiff:
    return operation_diff(
        tables["traces"],
        service=incident.service,
        operation=incident.operation,
        before=incident.baseline,
        after=incident.window,
    )


def test_both_services_were_deployed_once(tables: dict[str, ir.Table]) -> None:
    found = find_deployments(tables["traces"], tables["resources"])
    assert [(d.service, d.from_version, d.to_version) for d in found] == [
        ("shop", "", "1.4.0"),
        ("payments", "", "1.4.0"),
        ("shop", "1.4.0", "1.5.0"),
        ("payments", "1.4.0", "1.5.0"),
    ]
    assert {d.to_revision for d in found} == {OLD, NEW}
    assert all(d.repository_url for d in found)


def test_there_is_one_incident_on_the_checkout_and_the_other_operations_are_silent(
    incident: Incident,
) -> None:
    (finding,) = incident.findings
    assert (finding.kind, finding.service, finding.operation) == ("latency", "shop", "POST /checkout")
    assert finding.before == pytest.approx(133.9, abs=0.1)
    assert finding.after == pytest.approx(493.0, abs=0.1)
    assert (finding.count_before, finding.count_after) == (59, 65)
    assert incident.end is None


def test_it_began_with_the_shops_deployment_though_payments_was_deployed_too(incident: Incident) -> None:
    assert incident.deployment is not None
    assert incident.deployment.service == "shop"
    assert (incident.deployment.from_revision, incident.deployment.to_revision) == (OLD, NEW)


def test_three_new_calls_explain_the_added_time(diff: OperationDiff) -> None:
    new = [edge for edge in diff.edges if edge.kind == "new"]
    assert sorted(edge.edge.rpartition("/")[2] for edge in new) == ["avs", "bin", "velocity"]
    assert sum(edge.delta_ms for edge in new) == pytest.approx(366, abs=1)
    assert diff.delta_ms == pytest.approx(370, abs=1)
    assert {edge.kind for edge in diff.edges if edge not in new} == {"same"}
    assert [place.operation for place in locate(diff)] == [edge.edge for edge in new]


def test_everything_else_is_ruled_out_with_its_number(
    tables: dict[str, ir.Table], incident: Incident, diff: OperationDiff
) -> None:
    traces = tables["traces"]
    subject = {"service": incident.service, "operation": incident.operation}
    facts = {
        "traffic_ratio": traffic_ratio(traces, incident),
        "callees": edge_services(traces, **subject, window=incident.window),
    }
    changes = find_log_changes(tables["logs"], baseline=incident.baseline, window=incident.window)
    assert [(c.template, c.count_before, c.count_after) for c in changes] == [
        ("card <*> validated", 0, 65),
        ("order <*> placed for <*>", 0, 65),
    ]
    out = ruled_out(incident, diff, **facts, log_changes=changes)
    assert out == ["traffic +8 %", "payments +0.9 ms", "own code +1.9 ms", "no new errors"]
    places = locate_across(traces, **subject, before=incident.baseline, after=incident.window)
    assert [place.service for place in places] == ["shop"] * 3
    judged = classify_verdict(incident, diff, **facts, locations=places, log_changes=changes)
    assert (judged.verdict, judged.confidence) == ("code_change", 0.9)


def test_every_checkout_of_the_window_was_affected(tables: dict[str, ir.Table], incident: Incident) -> None:
    impact = measure_impact(tables["traces"], incident)
    assert (impact.requests, impact.errors, impact.share_of_requests) == (65, 0, 1.0)


def test_the_service_map_shows_payments_the_database_and_the_host_without_telemetry(
    tables: dict[str, ir.Table],
) -> None:
    edges = service_map(tables["traces"]).edges
    assert [(e.source, e.target_kind, e.calls) for e in edges] == [
        ("payments", "external", 124),
        ("shop", "external", 195),
        ("shop", "service", 124),
        ("shop", "database", 461),
    ]
