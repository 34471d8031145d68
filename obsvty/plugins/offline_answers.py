"""Answers to the questions that the facts of an incident can answer, found by key words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from obsvty.plugins.offline_explain import (
    Sentence,
    blame,
    blamed,
    cause,
    changed,
    deployed,
    effect,
    ended,
    listed,
    number,
    quoted,
    suggestion,
    where,
)
from obsvty.plugins.offline_facts import EvidenceFacts, Facts

_SHOWN = 5

Answer = Callable[[Facts], Sequence[Sentence | None]]


def answer(question: str, facts: Facts) -> list[Sentence]:
    """One to six sentences. A question that no key word matches gets the summary and what can be asked."""
    named = re.findall(r"\bE\d+\b", question)
    if named:
        shown = [_evidence(e) for e in facts.evidence if e.id in named]
        if shown:
            return shown[:_SHOWN]
    found = next((reply for words, reply in _QUESTIONS if re.search(words, question, re.IGNORECASE)), None)
    if found is not None:
        sentences = [s for s in found(facts) if s is not None]
        if sentences:
            return sentences[:6]
        return [_say(facts, "The facts of this incident do not say."), *_help(facts)]
    return [*cause(facts)[:2], *_help(facts)]


def _help(facts: Facts) -> list[Sentence]:
    return [
        _say(
            facts,
            "Without a model I can answer: why, what changed, which commit, who wrote it, which lines, when, "
            "the impact, what was ruled out, how sure, which logs changed, how to fix it, and what an id such as "
            f"{facts.evidence[0].id if facts.evidence else 'E1'} stands for.",
        )
    ]


def _say(facts: Facts, text: str, kind: str = "finding", about: str = "") -> Sentence:
    return Sentence(text, facts.cite_any(facts.cite(kind, about)))


def _evidence(evidence: EvidenceFacts) -> Sentence:
    return Sentence(
        f"{evidence.id} ({evidence.kind.replace('_', ' ')}): {ended(evidence.text)}", [evidence.id]
    )


def _fix(facts: Facts) -> Sequence[Sentence | None]:
    return suggestion(facts)


def _roll_back(facts: Facts) -> Sequence[Sentence | None]:
    return suggestion(facts)[1:]


def _ruled_out(facts: Facts) -> Sequence[Sentence | None]:
    return [_say(facts, f"Ruled out: {'; '.join(facts.ruled_out)}.")] if facts.ruled_out else []


def _left(facts: Facts) -> Sequence[Sentence | None]:
    return [
        _say(
            facts,
            "This answer was written on this machine; the ledger (obsvty egress list) holds all that left.",
        )
    ]


def _who(facts: Facts) -> Sequence[Sentence | None]:
    if not facts.suspects:
        return [blamed(facts)]
    first = facts.suspects[0]
    return [
        Sentence(
            f'{first.author} wrote {first.short} "{quoted(first.subject, 90)}", the likeliest commit '
            f"(probability {number(first.probability)}).",
            facts.cite_any(first.evidence),
        )
    ]


def _commits(facts: Facts) -> Sequence[Sentence | None]:
    return [blame(facts, s) for s in facts.suspects[:3]] or [blamed(facts)]


def _sure(facts: Facts) -> Sequence[Sentence | None]:
    ranked = listed([f"{s.short} {number(s.probability)}" for s in facts.suspects])
    verdict = facts.verdict.replace("_", " ")
    return [
        _say(facts, f"The verdict is {verdict} with confidence {number(facts.confidence)}."),
        Sentence(f"Probabilities: {ranked}.", facts.cite_any(*(s.evidence for s in facts.suspects)))
        if ranked
        else blamed(facts),
    ]


def _lines(facts: Facts) -> Sequence[Sentence | None]:
    told = [
        Sentence(f"{where(s)} was written by {s.short}.", facts.cite_any(s.evidence))
        for s in facts.suspects[:3]
        if s.hunks
    ]
    places = [
        Sentence(
            f"{p.operation or p.service} ({p.service}) explains {number(p.explains_ms)} ms.",
            facts.cite_any(p.evidence),
        )
        for p in facts.localization[:3]
    ]
    seen = [] if told else [Sentence(ended(e.text), [e.id]) for e in facts.evidence if e.kind == "code"][:3]
    return [*told, *seen, *places]


def _when(facts: Facts) -> Sequence[Sentence | None]:
    if not facts.incident.start:
        return []
    end = f" and ended at {facts.incident.end}" if facts.incident.end else " and goes on"
    begun = _say(facts, f"It began at {facts.incident.start}{end}.")
    if facts.deployment is None:
        return [begun]
    return [
        begun,
        _say(facts, f"{ended(deployed(facts.deployment))[:-1]} at {facts.deployment.at}.", "deployment"),
    ]


def _impact(facts: Facts) -> Sequence[Sentence | None]:
    if facts.impact is None:
        return []
    share = number(round(facts.impact.share_of_requests * 100, 1))
    return [
        _say(
            facts,
            f"{number(facts.impact.requests)} requests were affected, {share} % of the operation's, and "
            f"{number(facts.impact.errors)} of them failed.",
        )
    ]


def _logs(facts: Facts) -> Sequence[Sentence | None]:
    return [
        _say(
            facts,
            f'{c.severity or "Log"} lines "{quoted(c.template, 120)}" went from {c.count_before} to {c.count_after}.',
            "log_template",
            c.template,
        )
        for c in facts.log_changes[:4]
    ]


def _documents(facts: Facts) -> Sequence[Sentence | None]:
    return [
        Sentence(f'{d.path} ("{quoted(d.title, 80)}") is about it.', facts.cite_any([d.evidence]))
        for d in facts.documents
    ]


def _changed(facts: Facts) -> Sequence[Sentence | None]:
    more = [
        _say(
            facts,
            f"{e.edge}: {number(e.calls_before)} to {number(e.calls_after)} calls a request, "
            f"{number(e.delta_ms)} ms more.",
            "new_calls" if e.kind == "new" else "edge",
            e.edge,
        )
        for e in (facts.diff.edges if facts.diff else [])
        if e.kind != "same" and e.delta_ms > 0
    ]
    release = (
        _say(facts, f"{ended(deployed(facts.deployment))}", "deployment")
        if facts.deployment is not None
        else None
    )
    return [release, changed(facts) or effect(facts), *more[:3]]


# The first that matches answers: the narrow questions stand before the wide ones.
_QUESTIONS: list[tuple[str, Answer]] = [
    (r"\brul(?:e|ed|ing)\b.{0,6}\bout\b|\bwhat else\b|\bwhy not\b|\balternativ", _ruled_out),
    (r"\b(?:left|leave|leaves|egress|sent|privacy|share[ds]? with)\b", _left),
    (r"\broll(?:ing|ed)?[ -]?back|\brevert", _roll_back),
    (
        r"\bfix|\bmitigat|\bsolv|\brepair|\bshould (?:i|we)\b|\bwhat (?:can|to) (?:i |we )?do\b|\bremed|\bsuggest",
        _fix,
    ),
    (r"\bwho\b|\bauthor|\bwhose\b", _who),
    (r"\bhow (?:sure|certain|confident|likely)|\bconfiden|\bprobab|\bverdict\b", _sure),
    (r"\bline|\bfile|\bwhere\b|\bfunction\b|\bhunk|\bwhich code\b", _lines),
    (r"\bcommit|\bsuspect|\brevision|\bblame|\bculprit|\bguilty", _commits),
    (r"\bwhen\b|\bsince\b|\bstart|\bbegin|\bbegan\b|\bhow long\b|\bdeploy|\brelease|\bversion", _when),
    (r"\bimpact|\baffect|\bhow (?:many|bad)|\busers?\b|\bcustomers?\b|\bblast|\bseverity", _impact),
    (r"\blogs?\b|\btemplates?\b|\bmessages?\b", _logs),
    (r"\bdocs?\b|\bdocument|\brunbook|\bread\b", _documents),
    (r"\bchang|\bdiff|\bnew calls?\b|\bcalls?\b|\bdifferent", _changed),
    (r"\bwhy\b|\bcause|\breason|\bhappen|\broot\b|\bexplain|\bslow|\bfail|\bwrong\b", cause),
]
