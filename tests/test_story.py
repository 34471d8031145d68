"""The demo's verdict, and that it is earned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from obsvty.deliver.verdict import verdict_screen
from obsvty.errors import RepositoryMissing, UnknownIncident
from obsvty.model import Investigation, Window, from_ns
from obsvty.otlp.decode import decode
from obsvty.otlp.files import read_requests
from obsvty.session import Session
from obsvty.settings import load_settings
from obsvty.store.writer import Writer

GUILTY = "d34db33f"
DECOY = "3580ae37"


@pytest.fixture(scope="session")
def told(imported_demo: object, tmp_path_factory: pytest.TempPathFactory) -> Investigation:
    import shutil

    data = tmp_path_factory.mktemp("told") / "data"
    shutil.copytree(imported_demo.data, data)
    with Session(data, load_settings()) as session:
        return session.investigate(repo=imported_demo.repo)


def test_the_guilty_commit_is_first_and_the_decoy_is_below_with_a_lower_score(told: Investigation) -> None:
    assert told.verdict == "code_change"
    assert told.suspects[0].commit.revision.startswith(GUILTY)
    decoy = next(s for s in told.suspects if s.commit.revision.startswith(DECOY))
    assert decoy.rank > 1
    assert decoy.score < told.suspects[0].score
    assert [s.score for s in told.suspects] == sorted((s.score for s in told.suspects), reverse=True)


def test_the_evidence_names_the_new_calls_and_how_much_they_explain(told: Investigation) -> None:
    diff = told.operation_diff
    assert diff is not None
    new = [e for e in diff.edges if e.kind == "new"]
    assert sorted(e.edge.rsplit("/", 1)[1] for e in new) == ["avs", "bin", "velocity"]
    explained = sum(e.delta_ms for e in new)
    assert explained / diff.delta_ms > 0.95
    fact = next(e for e in told.evidence if e.kind == "new_calls")
    assert f"explain {explained:.0f} of {diff.delta_ms:.0f} extra ms" in fact.text
    assert all(e.edge in fact.text for e in new)
    assert fact.id in told.suspects[0].evidence


def test_the_file_and_the_line_are_named(told: Investigation, imported_demo: object) -> None:
    first = told.suspects[0]
    assert first.hunks[0].file == "app/cards.py"
    shown = str(verdict_screen(told))
    assert "app/cards.py:23" in shown
    line = (imported_demo.repo / "app/cards.py").read_text().splitlines()[22]
    assert "validated" in line


def test_it_began_at_the_deploy(told: Investigation) -> None:
    assert told.deployment is not None
    assert told.deployment.service == "shop"
    assert (told.deployment.from_version, told.deployment.to_version) == ("1.4.0", "1.5.0")
    assert told.start is not None
    assert abs((told.start - told.deployment.at).total_seconds()) < 5
    lead = told.findings[0]
    assert (lead.service, lead.operation, lead.kind) == ("shop", "POST /checkout", "latency")
    assert 120 < lead.before < 150
    assert 450 < lead.after < 530


def test_every_citation_exists(told: Investigation) -> None:
    known = {e.id for e in told.evidence}
    cited = {*told.insight.citations}
    cited.update(x for s in told.suspects for x in s.evidence)
    cited.update(x for p in told.localization for x in p.evidence)
    assert cited
    assert cited <= known


def test_nothing_left_and_no_model_was_asked(told: Investigation) -> None:
    assert (told.egress.entries, told.egress.bytes) == (0, 0)
    assert told.insight.engine == "offline"
    assert told.insight.note == "no model was asked"
    assert "0 bytes left this machine" in str(verdict_screen(told))


def test_two_investigations_say_the_same(
    told: Investigation, open_demo: Callable[..., Session], demo: object
) -> None:
    with open_demo() as session:
        again = session.investigate(repo=demo.repo)
    assert again.to_dict() == told.to_dict()


def test_before_the_deploy_there_is_no_incident(told: Investigation, tmp_path: Path) -> None:
    assert told.start is not None
    capture = Path(__file__).parents[1] / "obsvty/demo/data/shop.otlp.jsonl.gz"
    with Writer(tmp_path / "all", decode) as writer:
        for signal, body in read_requests(capture):
            writer.put(signal, body)
    with Session(tmp_path / "all", load_settings()) as session:
        cut = session.traces.filter(session.traces.start_time < told.start.replace(tzinfo=None))
        from obsvty.detect import detect_incidents

        assert detect_incidents(cut, session.logs.filter(session.logs.time_ns < 0)) == []
        assert detect_incidents(session.traces, session.logs) != []


def test_a_folder_with_only_the_time_before_the_deploy_answers_no_incident(
    told: Investigation, tmp_path: Path
) -> None:
    assert told.start is not None
    capture = Path(__file__).parents[1] / "obsvty/demo/data/shop.otlp.jsonl.gz"
    with Writer(tmp_path / "before", decode) as writer:
        for signal, body in read_requests(capture):
            table = decode(signal, [body])[signal]
            column = "start_ns" if signal == "traces" else "time_ns"
            last = max(t for t in table[column].to_pylist() if t is not None)
            if from_ns(last) < told.start:
                writer.put(signal, body)
        writer.flush()
    with Session(tmp_path / "before", load_settings()) as session:
        assert session.traces.count().to_pyarrow().as_py() > 500
        answer = session.investigate()
    assert answer.verdict == "no_incident"
    assert answer.suspects == ()
    assert "nothing in the stored telemetry changed" in answer.summary


def test_without_a_repository_it_still_says_where_and_says_that_none_was_found(
    open_demo: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the working folder is no clone either
    with open_demo() as session:
        answer = session.investigate()
        assert session.problems == ()
    assert answer.suspects == ()
    assert answer.localization[0].operation.endswith(("issuer/bin", "issuer/avs", "issuer/velocity"))
    assert answer.attribution is not None
    assert "no repository was found" in answer.attribution.abstained
    assert "no repository was found" in str(verdict_screen(answer))
    assert answer.confidence < 0.9


def test_a_named_repository_that_is_missing_is_a_problem_beside_the_answer(
    open_demo: Callable[..., Session], tmp_path: Path
) -> None:
    with open_demo() as session:
        answer = session.investigate(repo=tmp_path / "nowhere")
        assert [type(p) for p in session.problems] == [RepositoryMissing]
    assert answer.suspects == ()
    assert answer.localization


def test_a_window_that_a_person_names_is_compared_with_the_one_before(
    told: Investigation, open_demo: Callable[..., Session], demo: object
) -> None:
    assert told.start is not None
    assert told.window is not None
    assert told.baseline is not None
    window = Window(start=told.start, end=told.window.end)
    with open_demo() as session:
        answer = session.investigate(window, baseline=told.baseline, repo=demo.repo)
    assert answer.suspects[0].commit.revision.startswith(GUILTY)
    assert answer.window == window


def test_an_unknown_incident_is_said_to_be_unknown(open_demo: Callable[..., Session]) -> None:
    with open_demo() as session, pytest.raises(UnknownIncident):
        session.investigate("inc-00000000")


def test_a_repository_that_was_named_once_need_not_be_named_again(
    open_demo: Callable[..., Session], demo: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_demo() as session:
        session.investigate(repo=demo.repo)
    with open_demo() as session:
        answer = session.investigate()
        slow = answer.operation_diff
        assert slow is not None
        by_trace = session.suspects(slow.example_trace_after)
    assert answer.suspects[0].commit.revision.startswith(GUILTY)
    assert by_trace.suspects[0].commit.revision.startswith(GUILTY)
