"""Cause and suggestion from the facts of an incident, in fixed words: every number is one of the facts'."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from obsvty.plugins.offline_facts import DeploymentFacts, EdgeFacts, Facts, SuspectFacts

_QUERY = re.compile(r"\b(?:select|insert|update|delete|merge)\b", re.IGNORECASE)
_LATER = re.compile(r"queue|async|background|off the request|worker|defer|outbox", re.IGNORECASE)
_LINK = re.compile(r"\b[a-z][a-z0-9+.-]{1,10}://\S+|\bjavascript:\S*", re.IGNORECASE)
_TAG = re.compile(r"<(?!\*>|[A-Z][A-Z_]*_\d+>)")
_MANY = 5.0  # calls of one kind in one request, from which on they are one query per item of a list
_LISTED = 3
_QUOTED = 90  # characters of a commit subject or a log template
_REASON = 160

Change = Literal["new_calls", "repeated_calls", "slower_query", "slower_call", "slower_code", "exception", ""]


class Sentence(NamedTuple):
    """A sentence and the evidence it rests on."""

    text: str
    citations: list[str]


class Grown(NamedTuple):
    """The kind of change that added the most time to a request, and the edges that it is about."""

    change: Change
    edges: list[EdgeFacts]
    ms: float


def cause(facts: Facts) -> list[Sentence]:
    """One to three sentences: what since when, what changed in a request, which commit or why none."""
    return [s for s in (effect(facts), changed(facts), blamed(facts)) if s is not None]


def suggestion(facts: Facts) -> list[Sentence]:
    """What to change, and what to roll back to."""
    return [s for s in (_change_to_make(facts), _roll_back(facts)) if s is not None]


def effect(facts: Facts) -> Sentence | None:
    """`POST /checkout (shop) went from 134 to 493 ms when shop 1.5.0 (3580ae3) replaced 1.4.0 (7831108)`, and such."""
    lead = facts.findings[0] if facts.findings else None
    when = f" when {deployed(facts.deployment)}" if facts.deployment else ""
    citations = facts.cite_any(
        facts.cite("finding", lead.operation if lead else ""), facts.cite("deployment") if when else []
    )
    if lead is None:
        return Sentence(ended(facts.incident.headline), citations) if facts.incident.headline else None
    subject = f"{lead.operation or lead.service} ({lead.service})"
    unit = f" {lead.unit}" if lead.unit else ""
    kinds = {
        "latency": "",
        "errors": "Errors of ",
        "throughput": "Traffic of ",
        "exception": "Exceptions of ",
    }
    kind = kinds.get(lead.kind, f"The {lead.kind.replace('_', ' ')} of ")
    return Sentence(
        f"{kind}{subject} went from {number(lead.before)} to {number(lead.after)}{unit}{when}.", citations
    )


def changed(facts: Facts) -> Sentence | None:
    """What a request does now that it did not do before."""
    found = grown(facts)
    if facts.diff is None or not found.edges:
        return None
    names = folded([e.edge for e in found.edges])
    added = facts.diff.ms_after - facts.diff.ms_before
    share = (
        f"{number(found.ms)} of the {number(added)} ms that were added"
        if added > 0
        else f"{number(found.ms)} ms"
    )
    first = found.edges[0]
    citations = facts.cite_any(
        facts.cite("new_calls", first.edge) if first.kind == "new" else [], facts.cite("edge", first.edge)
    )
    calls = sum(e.calls_after for e in found.edges)
    if found.change == "new_calls":
        many = f"{number(calls)} calls" if round(calls, 1) != 1 else "1 call"
        return Sentence(
            f"Each request now makes {many} that it did not make before: {names}; together {share}.",
            citations,
        )
    if found.change == "repeated_calls":
        before = f" instead of {number(first.calls_before)}" if first.kind != "new" else ""
        return Sentence(
            f"Each request now calls {first.edge} {number(first.calls_after)} times{before}; this is {share}.",
            citations,
        )
    if found.change == "slower_code":
        return Sentence(f"The time is spent in the operation's own code: {share}.", citations)
    return Sentence(f"The same calls take longer: {names}; {share}.", citations)


def blamed(facts: Facts) -> Sentence | None:
    """The likeliest commit with its first reasons, or why none is named."""
    if facts.suspects:
        return blame(facts, facts.suspects[0])
    if facts.abstained:
        return Sentence(
            f"No commit is named: {ended(facts.abstained)}", facts.cite_any(facts.cite("finding"))
        )
    if facts.verdict not in ("code_change", "inconclusive"):
        verdict = facts.verdict.replace("_", " ")
        return Sentence(
            f"No commit is named: the verdict is {verdict}.", facts.cite_any(facts.cite("finding"))
        )
    return None


def blame(facts: Facts, suspect: SuspectFacts) -> Sentence:
    """One suspect: commit, author, probability, place and reasons."""
    place = f" in {where(suspect)}" if suspect.hunks else ""
    reasons = "; ".join(quoted(reason, _REASON) for reason in suspect.reasons[:2])
    return Sentence(
        f'Commit {suspect.short or suspect.revision[:7]} "{quoted(suspect.subject, _QUOTED)}" by {suspect.author}'
        f"{place} has probability {number(suspect.probability)}{f': {reasons}' if reasons else ''}.",
        facts.cite_any(suspect.evidence, facts.cite("commit", suspect.revision[:12])),
    )


def grown(facts: Facts) -> Grown:
    """Which kind of change added the most time; ties go to the first of the list."""
    nothing = Grown("exception" if _fails(facts) else "", [], 0.0)
    edges = [e for e in facts.diff.edges if e.delta_ms > 0] if facts.diff else []
    repeated = [
        e
        for e in edges
        if (e.kind == "new" and e.calls_after >= _MANY)
        or (e.kind == "more_calls" and e.calls_after - e.calls_before >= 1)
    ]
    groups: list[tuple[Change, list[EdgeFacts]]] = [
        ("new_calls", [e for e in edges if e.kind == "new" and e.edge != "self" and e not in repeated]),
        ("repeated_calls", repeated[:1]),
        ("slower_query", [e for e in edges if e.kind == "slower" and _QUERY.search(e.edge)]),
        (
            "slower_call",
            [e for e in edges if e.kind == "slower" and e.edge != "self" and not _QUERY.search(e.edge)],
        ),
        ("slower_code", [e for e in edges if e.edge == "self"]),
    ]
    found = [Grown(change, some, sum(e.delta_ms for e in some)) for change, some in groups if some]
    return max(found, key=lambda g: g.ms, default=nothing)


def _fails(facts: Facts) -> bool:
    return bool(facts.findings) and facts.findings[0].kind in ("errors", "exception")


def _change_to_make(facts: Facts) -> Sentence:
    found = grown(facts)
    document = facts.documents[0] if facts.documents else None
    see = f"; see {document.path}" if document else ""
    first = found.edges[0].edge if found.edges else ""
    by_change = {
        "new_calls": f"Move these calls off the request path, run them at the same time, or cache their answers{see}.",
        "repeated_calls": f"Ask for everything in one call instead of one call for each item{see}.",
        "slower_query": f"Look at the query plan of {first}: an index on what it filters by may be missing{see}.",
        "slower_call": f"Give {first} a short time-out and a fallback, and ask its owner what changed{see}.",
        "slower_code": f"Profile the operation's own code{_at(facts)}{see}.",
        "exception": f"Handle the failure where it is raised{_at(facts)}, or undo the change{see}.",
    }
    by_verdict = {
        "traffic": f"Add capacity or limit the callers; undoing a change would not help{see}.",
        "dependency": f"Give the calls to it a short time-out and a fallback, and tell its owner{see}.",
        "infrastructure": f"Take the slow instance out of rotation and look at its host{see}.",
        "configuration": f"Compare the configuration of both deployments and restore what was changed{see}.",
    }
    text = by_verdict.get(facts.verdict) or by_change.get(found.change) or _what_would_help(facts)
    if document and text == by_change["new_calls"] and _LATER.search(f"{document.title} {document.excerpt}"):
        text = f"Move these calls off the request path as {document.path} describes."
    cited = [document.evidence] if document else []
    basis = facts.cite("new_calls") if found.change == "new_calls" else facts.cite("edge", first)
    return Sentence(text, facts.cite_any(cited, basis if found.edges else facts.cite("finding")))


def _what_would_help(facts: Facts) -> str:
    missing = [
        "" if facts.deployment else "a revision in the telemetry (vcs.ref.head.revision or service.version)",
        "" if facts.suspects else "the repository that the service is built from ([git] repo)",
        "" if facts.diff else "traces of the operation from before and after",
    ]
    told = [m for m in missing if m]
    return (
        f"What would decide it: {listed(told)}."
        if told
        else "Compare a slow and a fast trace of the operation."
    )


def _roll_back(facts: Facts) -> Sentence | None:
    deployment = facts.deployment
    target = named(deployment.from_version, deployment.from_) if deployment else ""
    if deployment is None or not target:
        return None
    citations = facts.cite_any(facts.cite("deployment"))
    if facts.verdict in ("traffic", "dependency", "infrastructure"):
        return Sentence(
            f"Before it {deployment.service} ran {target}, should you want to rule it out.", citations
        )
    return Sentence(
        f"Until then, rolling {deployment.service} back to {target} undoes the change.", citations
    )


def deployed(deployment: DeploymentFacts) -> str:
    """`shop 1.5.0 (3580ae3) replaced 1.4.0 (7831108)`."""
    new, old = named(deployment.to_version, deployment.to), named(deployment.from_version, deployment.from_)
    now = f"{deployment.service} {new}".strip()
    return f"{now} replaced {old}" if old else f"{now} was deployed"


def named(version: str, revision: str) -> str:
    """`1.5.0 (3580ae3)`, or what of it is known."""
    short = revision[:7]
    return f"{version} ({short})" if version and short and version != revision else version or short


def where(suspect: SuspectFacts) -> str:
    """`app/cards.py:23-40` of the best hunk."""
    hunk = suspect.hunks[0]
    return f"{hunk.file}:{hunk.start}" + (f"-{hunk.end}" if hunk.end > hunk.start else "")


def _at(facts: Facts) -> str:
    return f" ({where(facts.suspects[0])})" if facts.suspects and facts.suspects[0].hunks else ""


def number(value: float) -> str:
    """Three digits at most after rounding, as people say it: `493`, `12.3`, `0.94`."""
    size = abs(value)
    text = (
        f"{value:.0f}"
        if size >= 100 or value == round(value)
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
    )
    return text.rstrip("0").rstrip(".") if "." in text else text


def listed(items: list[str]) -> str:
    """`a, b and c`; beyond three: `a, b, c and 4 others`."""
    shown, more = items[:_LISTED], len(items) - _LISTED
    if more > 0:
        return f"{', '.join(shown)} and {more} other{'s' if more > 1 else ''}"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def folded(edges: list[str]) -> str:
    """`POST host/issuer/{bin, avs}` for edges that differ in their last part only, else a list."""
    heads = {edge.rpartition("/")[0] for edge in edges}
    if len(edges) == 1 or len(heads) != 1 or not all(heads):
        return listed(edges)
    tails = [edge.rpartition("/")[2] for edge in edges]
    return f"{heads.pop()}/{{{', '.join(tails[:6])}{', ...' if len(tails) > 6 else ''}}}"


def clip(text: str, size: int) -> str:
    """One line of at most `size` characters, cut between words where there are any."""
    line = " ".join(text.split()).rstrip(".")
    if len(line) <= size:
        return line
    kept = line[: size - 1]
    return (kept.rpartition(" ")[0] or kept).rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def quoted(text: str, size: int) -> str:
    """What a stranger wrote, as words only: no link and no tag survives, placeholders such as `<EMAIL_1>` do."""
    return clip(without_markup(_LINK.sub("(link)", text)), size)


def without_markup(text: str) -> str:
    """Text that no page or notebook would take for a tag or an image."""
    plain = text.replace("](", "] (").replace("![", "! [")
    return _TAG.sub("\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", plain)


def ended(text: str) -> str:
    """A sentence with one full stop."""
    return f"{' '.join(text.split()).rstrip('.')}."
