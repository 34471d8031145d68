"""One incident keeps one id while its data is still arriving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from obsvty.model import Incident

SAME_START = timedelta(
    minutes=5
)  # late spans move a start by seconds, a deployment seen later by a minute or two


def keep_ids(found: Sequence[Incident], known: Sequence[Incident]) -> list[Incident]:
    """What was found, with the id under which it was told before.

    An id hangs on what leads an incident and on its deployment, and both may become clear only after more spans have
    arrived. An incident with the same leading operation (or the same deployment) and nearly the same start is the one
    that is known, so that it is told, alerted and kept once.

    Args:
        found: by detection, now.
        known: recorded before.
    """
    taken: set[str] = {i.id for i in found}
    kept: list[Incident] = []
    for incident in found:
        exact = any(k.id == incident.id for k in known)
        same = [k for k in known if not exact and k.id not in taken and _same(incident, k)]
        if same:
            nearest = min(same, key=lambda k: (abs(k.start - incident.start), k.id))
            taken.add(nearest.id)
            kept.append(replace(incident, id=nearest.id))
        else:
            kept.append(incident)
    return kept


def _same(one: Incident, other: Incident) -> bool:
    if abs(one.start - other.start) > SAME_START:
        return False
    if (one.service, one.operation) == (other.service, other.operation):
        return True
    revisions = [i.deployment.to_revision or i.deployment.to_version for i in (one, other) if i.deployment]
    touched = {(f.service, f.operation) for f in one.findings} & {
        (f.service, f.operation) for f in other.findings
    }
    return bool(touched) and (len(revisions) < 2 or revisions[0] == revisions[1])
