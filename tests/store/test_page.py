"""docs/store.md: its example reads a real folder, and its layout is what a folder holds."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from obsvty.store.writer import Writer

PAGE = Path(__file__).parents[2] / "docs" / "store.md"


def test_plain_duckdb_reads_a_folder_as_the_page_says(
    tmp_path: Path,
    feed: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with Writer(tmp_path / "data-dir", feed.decode, rotate_s=60) as writer:
        for number in range(3):
            writer.put("traces", feed.request(feed.span(number, name="/checkout")))
            writer.flush()
        values: dict[str, object] = {}
        exec(compile(example, str(PAGE), "exec"), values)  # the writer is at work meanwhile
    grouped, filtered = capsys.readouterr().out.split("\n\n")[:2]
    assert re.search(r"shop\s*│ /checkout │\s*3 │", grouped)
    assert re.search(r"│\s*3 │", filtered)


def test_the_layout_on_the_page_names_every_file_of_a_folder(root: Path, feed: ModuleType) -> None:
    layout = PAGE.read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    with Writer(root, feed.decode, rotate_s=60, merge_files=2) as writer:
        for number in range(4):
            writer.put("traces", feed.padded(number))
            writer.flush()
        writer.put_once("traces", feed.padded(9))
        writer.flush()
        writer.put("traces", feed.padded(10))
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert len(found) > 6
    patterns = [re.sub(r"\d{12}", r"\\d{12}", name) for name in re.findall(r"^  (\S+)", layout, re.MULTILINE)]
    unknown = [
        name
        for name in found
        if not any(
            re.fullmatch(pattern.replace("traces", r"\w+"), name) or name.startswith(pattern)
            for pattern in patterns
        )
    ]
    assert unknown == []
