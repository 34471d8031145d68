"""The extension in a real IPython: names are ready, nothing is opened before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ibis.expr.types as ir
import pytest
from IPython.core.interactiveshell import InteractiveShell

from obsvty.demo.bundled import clone_history, import_capture
from obsvty.model import Attribution, Investigation
from obsvty.notebook import magics
from obsvty.notebook.magics import NAMES, Pending, load_ipython_extension
from obsvty.privacy import SanitizedContext


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("magics") / "data"
    import_capture(folder, progress=lambda _done, _all: None)
    return folder


@pytest.fixture
def loaded(
    shell: InteractiveShell, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """A shell with the extension, on the bundled capture."""
    monkeypatch.setenv("OBSVTY_DATA_DIR", str(data_dir))
    magics.session.cache_clear()
    load_ipython_extension(shell)
    yield shell
    magics.session().close()
    magics.session.cache_clear()


def _value(shell: InteractiveShell, cell: str) -> object:
    done = shell.run_cell(cell, store_history=True)
    done.raise_error()
    return done.result


def test_nothing_is_opened_by_a_cell_that_names_nothing_of_ours(loaded: InteractiveShell) -> None:
    _value(loaded, "x = 'tracesque' + repr(1)")
    assert all(isinstance(loaded.user_ns[name], Pending) for name in NAMES)
    assert magics.session.cache_info().currsize == 0


def test_a_cell_that_names_a_table_gets_the_real_one(loaded: InteractiveShell) -> None:
    assert _value(loaded, "traces.count().to_pyarrow().as_py()") == 2637
    assert isinstance(loaded.user_ns["traces"], ir.Table)
    assert isinstance(loaded.user_ns["logs"], Pending)


def test_tables_can_be_joined_and_passed_on(loaded: InteractiveShell) -> None:
    cell = "traces.semi_join(logs.filter(logs.trace_id.notnull()), 'trace_id').count().to_pyarrow().as_py()"
    assert int(str(_value(loaded, cell))) > 0


def test_a_name_that_the_user_took_stays_the_users(shell: InteractiveShell) -> None:
    shell.user_ns["logs"] = "mine"
    load_ipython_extension(shell)
    assert shell.user_ns["logs"] == "mine"


def test_loading_twice_registers_one_hook(loaded: InteractiveShell) -> None:
    before = len(loaded.events.callbacks["pre_run_cell"])
    load_ipython_extension(loaded)
    assert len(loaded.events.callbacks["pre_run_cell"]) == before


def test_status_counts_what_is_stored(loaded: InteractiveShell, data_dir: Path) -> None:
    text = repr(_value(loaded, "%obsvty status"))
    assert str(data_dir) in text
    assert "2,637" in text


def test_sql_gives_a_table_and_keeps_it(loaded: InteractiveShell) -> None:
    _value(loaded, "%%osql -o spans\nselect count(*) as n from traces")
    assert _value(loaded, "spans.to_pyarrow().to_pylist()") == [{"n": 2637}]


def test_sql_cannot_write(loaded: InteractiveShell) -> None:
    done = loaded.run_cell("%%osql\ndrop table traces")
    assert type(done.error_in_exec).__name__ == "QueryError"


def test_our_errors_are_told_without_a_traceback(
    loaded: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded.run_cell("%obsvty frobnicate")
    said = "".join(capsys.readouterr())
    assert "%obsvty has no command" in said
    assert "Traceback" not in said
    assert "magics.py" not in said


def test_help_names_every_command(loaded: InteractiveShell) -> None:
    text = repr(_value(loaded, "%obsvty"))
    for command in ("status", "incidents", "investigate", "suspects", "context", "egress", "%%osql"):
        assert command in text


def test_egress_is_empty_before_anything_left(loaded: InteractiveShell) -> None:
    shown, _ = loaded.display_formatter.format(_value(loaded, "%obsvty egress"))
    assert shown["text/plain"] == "Nothing has left this machine."


def test_the_story_can_be_asked_for_line_by_line(
    loaded: InteractiveShell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OBSVTY_GIT__REPO", str(clone_history(tmp_path / "shop")))
    magics.session.cache_clear()
    found = _value(loaded, "%obsvty investigate")
    assert isinstance(found, Investigation)
    assert loaded.user_ns["inv"] is found
    assert found.suspects[0].commit.revision.startswith("d34db33f")
    context = _value(loaded, f"%obsvty context {found.incident_id}")
    assert isinstance(context, SanitizedContext)
    assert found.operation_diff is not None
    attribution = _value(loaded, f"%obsvty suspects {found.operation_diff.example_trace_after}")
    assert isinstance(attribution, Attribution)
    assert attribution.suspects[0].commit.revision.startswith("d34db33f")
