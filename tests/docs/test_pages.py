"""The pages hold together: links resolve, examples run, the site builds offline."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from obsvty.errors import SettingsError
from obsvty.ports import AlertConfig, AlertPlugin

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_between_files_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", without_code(text))
    for target in targets:
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target
    for document in re.findall(r"\{doc\}`([^`]+)`", text):
        assert (DOCS / f"{document}.md").exists(), document


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_opens_with_what_the_reader_can_do_after_it(page: Path) -> None:
    heading, blank, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert heading.startswith("# ")
    assert blank == ""
    assert first.startswith("After this page you ")


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)
    listed = {line for tree in trees for line in tree.split("\n") if line and not line.startswith(":")}
    assert listed == {page.stem for page in PAGES} - {"index"}


def test_every_room_is_in_the_architecture_page() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = {p.parent.name for p in (ROOT / "obsvty").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in page} == set()


def test_the_columns_of_the_vocabulary_exist() -> None:
    from obsvty.store.schema import TABLES

    page = (DOCS / "vocabulary.md").read_text(encoding="utf-8")
    for name, schema in TABLES.items():
        row = re.search(rf"^\| `{name}` \| [^|]+ \| `([^`]+)` \|$", page, re.MULTILINE)
        assert row is not None, name
        assert set(row[1].split()) <= set(schema.names)


def test_every_port_and_built_in_plugin_is_in_the_plugins_page() -> None:
    from obsvty.ports.registry import GROUPS, installed

    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    for port, group in GROUPS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{port.__name__}` |"))
        assert f"`{group}`" in row
        for name, where in installed(port).items():
            if where.startswith("obsvty."):
                assert f"`{name}`" in row
        methods = {m for m in vars(port) if not m.startswith("_") and m != "name"}
        assert {m for m in methods if f"`{m}`" not in row} == set()


def test_the_example_plugin_is_a_plugin(tmp_path: Path) -> None:
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example is not None
    file = tmp_path / "obsvty_webhook.py"
    file.write_text(example[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("obsvty_webhook", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plugin = module.WebhookAlertPlugin
    assert issubclass(plugin, AlertPlugin)
    assert not plugin.__abstractmethods__
    with pytest.raises(SettingsError, match="WEBHOOK_URL"):
        plugin(AlertConfig())


def without_details(verdict: str) -> str:
    """Without what moves with every word of the context: evidence numbers, probability, sizes, the incident's id."""
    verdict = re.sub(r"\[E[E0-9 ]*\]|inc-[0-9a-f]{8}|[0-9.]+ kB|\d+ values", "", verdict)
    return re.sub(r"(Bo Lind +)[01]\.[0-9]{2}", r"\1", verdict)


@pytest.mark.slow
def test_the_quickstart_shows_what_the_demo_prints(tmp_path: Path) -> None:
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    shown = re.search(r"```text\n(INCIDENT.*?)```", page, re.DOTALL)
    assert shown is not None
    command = [sys.executable, "-c", "from obsvty.cli import main; main()", "demo", "--work", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert without_details(printed).startswith(without_details(shown[1]))


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-d",
        str(tmp_path / "doctrees"),
        str(DOCS),
        str(site),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = sorted(site.glob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in PAGES}
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+",
            page.read_text(encoding="utf-8"),
        )
        assert loaded == [], page.name
