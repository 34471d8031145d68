"""Deployments read off telemetry."""

from __future__ import annotations

from types import ModuleType

import ibis
import pyarrow as pa
import pytest

from obsvty.detect import deployment_table, find_deployments
from obsvty.store.schema import RESOURCES


def _steps(s: object) -> list[tuple[str, str, str]]:
    return [(d.service, d.from_version, d.to_version) for d in find_deployments(s.traces)]  # type: ignore[attr-defined]


def test_the_first_revision_of_a_service_has_no_predecessor(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 60)
    (deployment,) = find_deployments(s.traces)
    assert (deployment.from_version, deployment.from_revision) == ("", "")
    assert (deployment.to_version, deployment.to_revision) == ("1.0.0", f"{100:0<40}")
    assert deployment.environment == "prod"


def test_a_new_revision_is_a_deployment_at_its_first_span(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 60, "1.1.0")
    s.load("shop", "GET /", 0, 120)
    first, second = find_deployments(s.traces)
    assert first.at < second.at
    assert (second.from_version, second.to_version) == ("1.0.0", "1.1.0")
    begun = [x["start_ns"] for x in s.spans if x["service_version"] == "1.1.0"]
    assert story.seconds(second.at) == pytest.approx((min(begun) - story.T0_NS) / 1e9, abs=1e-6)


def test_a_restart_and_a_new_instance_of_the_same_revision_are_none(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 60)
    for i in range(20):
        s.request("shop", "GET /", 200 + i, 10, instance="two")
    assert _steps(s) == [("shop", "", "1.0.0")]


def test_a_rollback_is_a_deployment_again(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 60, "1.1.0")
    s.deploy("shop", 120, "1.0.0")
    s.load("shop", "GET /", 0, 180)
    assert _steps(s) == [("shop", "", "1.0.0"), ("shop", "1.0.0", "1.1.0"), ("shop", "1.1.0", "1.0.0")]


def test_two_revisions_alive_at_once_are_one_deployment(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 60, rps=5)
    for i in range(1500):
        s.request("shop", "GET /", 60 + i / 5, 10, version="1.1.0" if s.rng.random() < 0.1 else "1.0.0")
    assert _steps(s) == [("shop", "", "1.0.0"), ("shop", "1.0.0", "1.1.0")]


def test_a_version_is_enough_when_the_revision_is_unknown(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("shop", 60, "1.1.0")
    s.load("shop", "GET /", 0, 120)
    for span in s.spans:
        span["vcs_revision"] = None
    _, second = find_deployments(s.traces)
    assert (second.from_version, second.to_version, second.to_revision) == ("1.0.0", "1.1.0", "")


def test_services_and_environments_are_told_apart(story: ModuleType) -> None:
    s = story.Story()
    s.deploy("mail", 60, "2.0.0")
    s.load("shop", "GET /", 0, 120)
    s.load("mail", "GET /", 0, 120)
    s.environment = "stage"
    s.load("shop", "GET /", 10, 120)
    found = find_deployments(s.traces)
    assert sorted((d.service, d.environment, d.to_version) for d in found) == [
        ("mail", "prod", "1.0.0"),
        ("mail", "prod", "2.0.0"),
        ("shop", "prod", "1.0.0"),
        ("shop", "stage", "1.0.0"),
    ]


def test_the_repository_comes_from_the_resource(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 60)
    row = {
        "resource_id": "shop-1.0.0",
        "attributes": [("vcs.repository.url.full", "https://example.org/shop")],
        "dropped_attributes_count": 0,
    }
    resources = ibis.memtable(pa.Table.from_pylist([row], schema=RESOURCES))
    assert find_deployments(s.traces, resources)[0].repository_url == "https://example.org/shop"


def test_the_table_has_times_with_nanoseconds(story: ModuleType) -> None:
    s = story.Story()
    s.load("shop", "GET /", 0, 60)
    table = deployment_table(s.traces).to_pyarrow()
    assert str(table.schema.field("at").type) == "timestamp[ns]"
    assert table["at"].cast(pa.int64()).to_pylist() == table["at_ns"].to_pylist() == [s.spans[0]["start_ns"]]
