"""An alert is one message at each place, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from obsvty.errors import AlertError, EgressBlocked
from obsvty.ports.testing import LoopbackSlack
from obsvty.session import Session


@pytest.fixture
def slack() -> Iterator[LoopbackSlack]:
    with LoopbackSlack() as server:
        yield server


def alerts_to(slack: LoopbackSlack) -> dict[str, object]:
    place = {"channel": "#alerts", "base_url": slack.base_url, "token": slack.token}
    return {"to": ["slack"], "slack": place}


def test_an_edit_that_fails_does_not_make_a_second_message(
    open_demo: Callable[..., Session], demo: object, slack: LoopbackSlack
) -> None:
    with open_demo(alerts=alerts_to(slack)) as session:
        told = session.investigate(repo=demo.repo)
        session.alert(told)
        slack.fail("fatal_error")
        with pytest.raises(AlertError):
            session.alert(told)
        session.alert(told)
    assert len(slack.messages) == 1
    posted = [r for r in slack.requests if r.path.endswith("chat.postMessage")]
    assert len(posted) == 1


def test_a_send_that_the_gate_refuses_is_a_failed_delivery_and_sends_nothing(
    open_demo: Callable[..., Session], demo: object, slack: LoopbackSlack
) -> None:
    settings = alerts_to(slack)
    settings["slack"] = {**settings["slack"], "base_url": "https://slack.example/api/"}
    with open_demo(alerts=settings, llm={"offline": True}) as session:
        told = session.investigate(repo=demo.repo)
        with pytest.raises(EgressBlocked):
            session.alert(told)
        assert [d.status for d in session.state.deliveries(told.incident_id)] == ["failed"]
        assert [e.decision for e in session.egress.entries()] == ["blocked"]
    assert slack.requests == []
