"""Bad input: a clear sentence, what to do, exit code 1 or 2, no traceback, nothing lost."""

from __future__ import annotations

import gzip
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from obsvty.ports.testing import LoopbackOpenAI, LoopbackSlack

CAPTURE = Path(__file__).parents[2] / "obsvty/demo/data/shop.otlp.jsonl.gz"


def stored(obsvty: Callable, data: Path) -> int:
    return obsvty("query", "select count(*) n from traces", "--format", "json", "--data", data).json()[0]["n"]


def clear(ran: object, code: int) -> None:
    assert ran.code == code, ran.err
    assert "error:" in ran.err
    assert "Traceback" not in ran.err + ran.out


def test_a_truncated_file_is_named_and_what_was_read_stays(
    obsvty: Callable, demo: object, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(CAPTURE.read_bytes()[:120_000])
    before = stored(obsvty, demo.data)
    ran = obsvty("import", cut, "--data", demo.data)
    clear(ran, 1)
    assert "cut.jsonl.gz" in ran.err
    assert stored(obsvty, demo.data) >= before


def test_a_file_that_is_not_otlp_stores_nothing(obsvty: Callable, demo: object, tmp_path: Path) -> None:
    for name, body in (
        ("a.json", b'{"hello": 1}'),
        ("b.bin", bytes(range(256)) * 9),
        ("c.gz", gzip.compress(b"no")),
    ):
        (tmp_path / name).write_bytes(body)
        clear(obsvty("import", tmp_path / name, "--data", demo.data), 1)
    assert stored(obsvty, demo.data) == 2637
    clear(obsvty("import", tmp_path / "nowhere.json", "--data", demo.data), 2)


def test_an_unknown_incident_is_a_usage_error(obsvty: Callable, demo: object) -> None:
    for command in (
        ["investigate", "inc-00000000"],
        ["context", "nope"],
        ["alert", "nope"],
        ["report", "nope"],
    ):
        ran = obsvty(*command, "--data", demo.data)
        clear(ran, 2)
        assert "obsvty incidents" in ran.err
    clear(obsvty("suspects", "0" * 32, "--data", demo.data), 2)


def test_an_occupied_port_says_so_and_stores_nothing_wrong(
    obsvty: Callable, demo: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("OBSVTY_RECEIVER__GRPC", f"127.0.0.1:{port}")
        monkeypatch.setenv("OBSVTY_RECEIVER__HTTP", "127.0.0.1:0")
        monkeypatch.setenv("OBSVTY_MCP__HTTP", "127.0.0.1:0")
        ran = obsvty("serve", "--data", demo.data)
    clear(ran, 1)
    assert str(port) in ran.err
    assert stored(obsvty, demo.data) == 2637


def test_a_named_repository_that_is_missing_or_corrupt_still_gets_an_answer(
    obsvty: Callable, demo: object, tmp_path: Path
) -> None:
    corrupt = tmp_path / "corrupt"
    shutil.copytree(demo.repo, corrupt)
    for pack in corrupt.rglob("*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(b"not a pack")
    for repo in (tmp_path / "nowhere", corrupt):
        ran = obsvty("investigate", "--repo", repo, "--data", demo.data)
        clear(ran, 1)
        assert "issuer" in ran.out
        assert "no commit explains this" in ran.out
    trace = obsvty("query", "select trace_id from traces limit 1", "--format", "json", "--data", demo.data)
    clear(
        obsvty("suspects", trace.json()[0]["trace_id"], "--repo", tmp_path / "nowhere", "--data", demo.data),
        1,
    )


def test_an_unreachable_model_leaves_the_offline_answer(
    obsvty: Callable, demo: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackOpenAI() as gone:
        url = gone.base_url
    monkeypatch.setenv("OBSVTY_LLM__ENGINE", "openai")
    monkeypatch.setenv("OBSVTY_LLM__BASE_URL", url)
    monkeypatch.setenv("OBSVTY_LLM__MODEL", "m")
    monkeypatch.setenv("OBSVTY_LLM__TIMEOUT_S", "2")
    ran = obsvty("investigate", "--repo", demo.repo, "--data", demo.data)
    clear(ran, 1)
    assert "d34db33" in ran.out
    assert "did not answer" in ran.out
    incident = ran.out.split("obsvty context ")[-1].split()[0] if "obsvty context" in ran.out else None
    listed = obsvty("incidents", "--json", "--data", demo.data).json()[0]["incident_id"]
    assert incident in (None, listed)
    asked = obsvty("ask", listed, "why?", "--repo", demo.repo, "--data", demo.data)
    clear(asked, 1)


def test_slack_saying_invalid_auth_or_429_is_told_and_the_alert_can_be_sent_again(
    obsvty: Callable, demo: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = obsvty("incidents", "--json", "--data", demo.data).json()[0]["incident_id"]
    with LoopbackSlack() as slack:
        monkeypatch.setenv("OBSVTY_ALERTS__SLACK__BASE_URL", slack.base_url)
        monkeypatch.setenv("OBSVTY_ALERTS__SLACK__CHANNEL", "#alerts")
        send = ("alert", incident, "--to", "slack", "--repo", demo.repo, "--data", demo.data)
        monkeypatch.setenv("OBSVTY_ALERTS__SLACK__TOKEN", "xoxb-wrong")
        ran = obsvty(*send)
        clear(ran, 1)
        assert "OBSVTY_ALERTS__SLACK__TOKEN" in ran.err
        assert "xoxb-wrong" not in ran.err
        monkeypatch.setenv("OBSVTY_ALERTS__SLACK__TOKEN", slack.token)
        slack.limit(retry_after_s=600)
        clear(obsvty(*send), 1)
        doctor = obsvty("doctor", "--data", demo.data)
        assert doctor.code == 1
        assert "not delivered" in doctor.out
        assert obsvty(*send).code == 0
        assert len(slack.messages) == 1
        assert obsvty(*send).code == 0
        assert len(slack.messages) == 1


def test_settings_that_are_wrong_name_the_key(obsvty: Callable, demo: object, tmp_path: Path) -> None:
    config = tmp_path / "obsvty.toml"
    config.write_text("[lmm]\nmodel = 'x'\n")
    ran = obsvty("--config", config, "incidents", "--data", demo.data)
    clear(ran, 2)
    assert "lmm" in ran.err
    config.write_text("[alerts.slack]\ntoken = 'xoxb-secret'\n")
    ran = obsvty("--config", config, "incidents", "--data", demo.data)
    clear(ran, 2)
    assert "OBSVTY_ALERTS__SLACK__TOKEN" in ran.err
    assert "xoxb-secret" not in ran.err
    clear(obsvty("--config", tmp_path / "none.toml", "incidents"), 2)


def test_sql_that_writes_or_reaches_out_is_refused(obsvty: Callable, demo: object) -> None:
    for sql in (
        "drop table traces",
        "select * from read_csv('/etc/passwd')",
        "selec 1",
        "select * from nowhere",
    ):
        clear(obsvty("query", sql, "--data", demo.data), 1)


def test_a_question_that_makes_no_sense_is_refused(obsvty: Callable, demo: object) -> None:
    clear(obsvty("investigate", "--start", "yesterday", "--data", demo.data), 2)
    clear(obsvty("investigate", "--end", "-5m", "--data", demo.data), 2)
    clear(obsvty("suspects", "--data", demo.data), 2)
    clear(obsvty("egress", "show", "999", "--data", demo.data), 2)


def test_an_empty_folder_has_no_incident_and_exit_code_3(obsvty: Callable, tmp_path: Path) -> None:
    for command in (["incidents"], ["investigate"]):
        ran = obsvty(*command, "--data", tmp_path / "empty")
        assert ran.code == 3
    assert not (tmp_path / "empty").exists()


def test_debug_shows_where_it_happened(obsvty: Callable, demo: object) -> None:
    from obsvty.errors import UnknownIncident

    with pytest.raises(UnknownIncident):
        obsvty("investigate", "inc-00000000", "--data", demo.data, "--debug")
