"""An investigation as the alert that a person reads at 3 a.m., and its delivery: once, to each place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from obsvty.deliver.verdict import headline, verdict_screen
from obsvty.errors import AlertError, EgressBlocked
from obsvty.model import Alert, Delivery, Investigation
from obsvty.ports import AlertPlugin
from obsvty.privacy import Gate
from obsvty.store.state import State

_ABANDONED_S = 300.0  # a send that began so long ago died with its process; it is tried again

_MARKS: dict[str, Literal["action_required", "action_suggested", "resolved", "inconclusive"]] = {
    "code_change": "action_required",
    "dependency": "action_suggested",
    "traffic": "action_suggested",
    "infrastructure": "action_suggested",
    "configuration": "action_required",
    "inconclusive": "inconclusive",
    "no_incident": "resolved",
}


def alert_key(incident_id: str, destination: str) -> str:
    """The same incident at the same destination is one alert, whoever asks and however often."""
    return hashlib.blake2b(f"{incident_id}\n{destination}".encode(), digest_size=8).hexdigest()


def compose_alert(inv: Investigation, *, key: str) -> Alert:
    """Verdict first, one commit or none, the safest action, how sure, what was ruled out."""
    screen = verdict_screen(inv)
    mark = "resolved" if inv.end is not None else _MARKS[inv.verdict]
    roll_back = ""
    if inv.verdict == "code_change" and inv.deployment is not None:
        roll_back = inv.deployment.from_revision[:7] or inv.deployment.from_version
    suspect = screen.line("SUSPECT")
    detail = next(
        (text for i, (_, text) in enumerate(screen.rows) if i and screen.rows[i - 1][0] == "SUSPECT"), ""
    )
    fields = [
        ("Confidence", f"{inv.confidence:.2f} ({inv.verdict.replace('_', ' ')})"),
        (
            "Blast radius",
            f"{inv.impact.share_of_requests:.0%} of requests, {inv.impact.requests} so far, {inv.impact.errors} errors",
        ),
        ("Change", screen.line("CHANGE")),
        ("Roll back to", roll_back),
        ("Ruled out", " · ".join(inv.ruled_out)),
    ]
    engine = "no model was asked" if not inv.insight.tokens else f"{inv.insight.tokens} model tokens"
    redacted = sum(inv.egress.redactions.values())
    fix = inv.insight.suggestion
    return Alert(
        incident_id=inv.incident_id,
        key=key,
        mark=mark,
        title=headline(inv),
        summary=screen.line("INCIDENT"),
        why="\n".join(x for x in (suspect, detail) if x),
        fix=fix,
        fields=tuple((label, value) for label, value in fields if value),
        footer=f"{inv.incident_id} · {engine} · {redacted} values redacted",
        text=str(replace(screen, rows=tuple(row for row in screen.rows if row[0] != "EGRESS"))),
    )


def deliver_alert(
    inv: Investigation,
    *,
    plugin: AlertPlugin,
    gate: Gate,
    state: State,
) -> Delivery | None:
    """Send one alert to one place, or edit the one sent before.

    The row in the state store is taken before the send, so two watch processes never post twice; a failed delivery
    stays in the state and the next call tries again with the same key.

    Returns:
        Where it went; None when another process is sending it now.

    Raises:
        AlertError: it was not delivered. EgressBlocked: the gate refused.
    """
    key = alert_key(inv.incident_id, plugin.destination)
    alert = gate.alert(compose_alert(inv, key=key))
    record = state.delivery(key)
    previous = (
        Delivery(destination=record.destination, reference=record.reference)
        if record is not None and record.status == "delivered"
        else None
    )
    if previous is None and not state.take_delivery(
        key, incident_id=inv.incident_id, destination=plugin.destination, retake_after_s=_ABANDONED_S
    ):
        return None
    try:
        with gate.egress(
            sink=plugin.name, destination=plugin.destination, redactions=alert.redactions
        ) as egress:
            send: Callable[[], Delivery] = (
                (lambda: plugin.send(alert, egress=egress))
                if previous is None
                else (lambda: plugin.update(alert, previous, egress=egress))
            )
            delivery = send()
    except (AlertError, EgressBlocked) as exc:
        # an edit that failed leaves the first message where it is, to be edited next time
        if previous is None:
            state.delivery_failed(key, exc.message)
        raise
    state.record_delivery(key, delivery)
    return delivery
