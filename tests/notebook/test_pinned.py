"""The pinned snapshot answers without a store."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from obsvty.errors import NothingFound, UsageError
from obsvty.notebook import pinned
from obsvty.notebook.requests import plot_latency


def test_requests_are_split_into_before_and_after(tmp_path: Path, story: SimpleNamespace) -> None:
    story.write_snapshot(tmp_path)
    requests = pinned.open_snapshot(tmp_path).requests(
        service="till", operation="POST /pay", baseline=story.BASELINE, window=story.WINDOW
    )
    rows = requests.group_by("side").agg(n=requests.count(), ms=requests.ms.max()).order_by("side")
    assert rows.to_pyarrow().to_pylist() == [
        {"side": "after", "n": 30, "ms": 400.0},
        {"side": "before", "n": 30, "ms": 100.0},
    ]


def test_the_figure_names_the_versions_on_both_sides(tmp_path: Path, story: SimpleNamespace) -> None:
    story.write_snapshot(tmp_path)
    requests = pinned.open_snapshot(tmp_path).requests(
        service="till", operation="POST /pay", baseline=story.BASELINE, window=story.WINDOW
    )
    figure = plot_latency(requests, label="POST /pay")
    assert "1.0 -&gt; 1.1" in figure.svg
    assert "p50 100 ms before, 400 ms after (60 requests)" in figure.alt


def test_the_digest_says_which_data_it_was(tmp_path: Path, story: SimpleNamespace) -> None:
    story.write_snapshot(tmp_path)
    digests = pinned.open_snapshot(tmp_path).sha256
    assert sorted(digests) == ["logs.parquet", "traces.parquet"]
    assert all(len(digest) == 64 for digest in digests.values())


def test_windows_are_read_from_rfc_3339(story: SimpleNamespace) -> None:
    assert pinned.window("2026-03-02T10:00:00.000Z", "2026-03-02T10:00:30.000Z") == story.BASELINE


@pytest.mark.parametrize("start", ["yesterday", "2026-03-02T10:00:00"])
def test_a_window_without_a_zone_or_form_is_refused(start: str) -> None:
    with pytest.raises(UsageError, match=r"RFC 3339|zone"):
        pinned.window(start, "2026-03-02T10:00:30Z")


def test_a_folder_without_a_snapshot_is_refused(tmp_path: Path, story: SimpleNamespace) -> None:
    with pytest.raises(UsageError, match="holds no Parquet"):
        pinned.open_snapshot(tmp_path)
    story.write_snapshot(tmp_path)["logs"].unlink()
    with pytest.raises(NothingFound, match=r"no logs\.parquet"):
        _ = pinned.open_snapshot(tmp_path).logs
