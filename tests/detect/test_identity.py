"""An incident keeps its id while more of it arrives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from obsvty.detect.identity import keep_ids
from obsvty.model import Deployment, Finding, Incident, Window

START = datetime(2026, 11, 23, 15, tzinfo=UTC)


def incident(identity: str, *, service: str = "shop", operation: str = "POST /checkout") -> Incident:
    finding = Finding(
        kind="latency",
        service=service,
        operation=operation,
        before=134,
        after=493,
        unit="ms",
        change_at=START,
        id="F1",
    )
    hour = timedelta(hours=1)
    return Incident(
        id=identity,
        start=START,
        end=None,
        baseline=Window(start=START - hour, end=START),
        window=Window(start=START, end=START + hour),
        findings=(finding,),
    )


def test_a_deployment_that_is_seen_later_does_not_make_a_new_incident() -> None:
    known = incident("inc-1")
    deployed = Deployment(
        service="shop",
        environment="demo",
        from_version="1",
        from_revision="",
        to_version="2",
        to_revision="",
        at=START,
    )
    found = replace(incident("inc-2"), deployment=deployed, start=START + timedelta(seconds=40))
    assert [i.id for i in keep_ids([found], [known])] == ["inc-1"]
    assert keep_ids([found], [known])[0].deployment == deployed


def test_another_leading_operation_of_the_same_findings_keeps_the_id() -> None:
    known = incident("inc-1", service="payments", operation="POST /charge")
    both = (*incident("x").findings, *known.findings)
    assert keep_ids([replace(incident("inc-2"), findings=both)], [known])[0].id == "inc-1"


def test_other_operations_and_other_times_are_other_incidents() -> None:
    known = incident("inc-1")
    other = incident("inc-2", operation="GET /products")
    later = replace(incident("inc-3"), start=START + timedelta(hours=2))
    assert [i.id for i in keep_ids([other, later], [known])] == ["inc-2", "inc-3"]


def test_an_id_that_is_known_already_stays_and_is_given_once() -> None:
    first, second = incident("inc-1"), incident("inc-2")
    assert [i.id for i in keep_ids([first, second], [first])] == ["inc-1", "inc-2"]
    third = incident("inc-3")
    assert [i.id for i in keep_ids([second, third], [first])] == ["inc-1", "inc-3"]
