"""`obsvty stamp`, typed in real repositories; the detector reads what it wrote."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from obsvty.otlp.vcs import NAME, REVISION, STAMP_FILE, URL, VARIABLES, attributes, places
from obsvty.ports.testing import make_repository

ONE = "1" * 39 + "a"
ORIGIN = '\n[remote "origin"]\n\turl = https://bot:secret@git.example/team/shop.git\n'


@pytest.fixture(autouse=True)
def no_ci_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests run in CI as well, whose variables would come first."""
    for variable, _, _ in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A repository with an origin, and the hash of its last commit; it is the working folder."""
    known = make_repository(tmp_path / "made")
    folder = known.path
    with (folder / ".git/config").open("a", encoding="utf-8") as config:
        config.write(ORIGIN)
    monkeypatch.chdir(folder)
    return folder, known.head


def test_the_stamp_says_commit_branch_and_repository_without_credentials(
    obsvty: Callable, shop: tuple[Path, str]
) -> None:
    folder, head = shop
    ran = obsvty("stamp")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{STAMP_FILE}: {head} main https://git.example/team/shop\n"
    assert json.loads((folder / STAMP_FILE).read_text(encoding="utf-8")) == {
        REVISION: head,
        NAME: "main",
        URL: "https://git.example/team/shop",
    }


def test_the_detector_reads_what_was_stamped(
    obsvty: Callable, shop: tuple[Path, str], tmp_path: Path
) -> None:
    folder, head = shop
    image = tmp_path / "image/app"
    image.mkdir(parents=True)
    assert obsvty("stamp", "--repo", folder, "-o", image / STAMP_FILE).code == 0
    assert attributes({}, places(image, None))[REVISION] == head


def test_json_prints_what_is_written(obsvty: Callable, shop: tuple[Path, str]) -> None:
    ran = obsvty("stamp", "--json", "-o", "build.json")
    assert ran.json() == json.loads((shop[0] / "build.json").read_text(encoding="utf-8"))
    assert ran.json()[REVISION] == shop[1]


def test_two_runs_write_the_same_bytes(obsvty: Callable, shop: tuple[Path, str]) -> None:
    obsvty("stamp")
    first = (shop[0] / STAMP_FILE).read_bytes()
    obsvty("stamp")
    assert (shop[0] / STAMP_FILE).read_bytes() == first


def test_an_older_stamp_is_not_read_when_a_new_one_is_made(obsvty: Callable, shop: tuple[Path, str]) -> None:
    (shop[0] / STAMP_FILE).write_text(json.dumps({REVISION: ONE}), "utf-8")
    obsvty("stamp")
    assert json.loads((shop[0] / STAMP_FILE).read_text(encoding="utf-8"))[REVISION] == shop[1]


def test_without_a_repository_the_revision_is_given(
    obsvty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = obsvty("stamp", "--json", "--revision", ONE.upper(), "--url", "git@git.example:team/shop.git")
    assert ran.json() == {REVISION: ONE, URL: "https://git.example/team/shop"}


def test_a_ci_system_s_variable_is_enough(
    obsvty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI_COMMIT_SHA", ONE)
    assert obsvty("stamp", "--json").json() == {REVISION: ONE}


def test_a_named_repository_comes_before_a_ci_system_s_variable(
    obsvty: Callable, shop: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_COMMIT_SHA", ONE)
    assert obsvty("stamp", "--json", "--repo", shop[0]).json()[REVISION] == shop[1]


def test_another_commit_of_a_named_repository_keeps_its_address_but_not_its_branch(
    obsvty: Callable, shop: tuple[Path, str]
) -> None:
    ran = obsvty("stamp", "--json", "--repo", shop[0], "--revision", ONE)
    assert ran.json() == {REVISION: ONE, URL: "https://git.example/team/shop"}


@pytest.mark.parametrize("revision", ["", "HEAD", "main", ONE[:7], "0" * 40])
def test_a_revision_that_is_no_full_hash_is_refused(
    obsvty: Callable, shop: tuple[Path, str], revision: str
) -> None:
    ran = obsvty("stamp", "--revision", revision)
    assert ran.code == 2
    assert "full commit hash" in ran.err
    assert "git rev-parse HEAD" in ran.err
    assert not (shop[0] / STAMP_FILE).exists()


def test_an_address_that_is_none_is_refused_and_not_repeated(
    obsvty: Callable, shop: tuple[Path, str]
) -> None:
    ran = obsvty("stamp", "--url", "/srv/secret")
    assert ran.code == 2
    assert "secret" not in ran.err
    assert not (shop[0] / STAMP_FILE).exists()


def test_where_there_is_no_repository_the_error_says_what_to_do(
    obsvty: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    ran = obsvty("stamp")
    assert ran.code == 1
    assert "no git repository" in ran.err
    assert 'obsvty stamp --revision "$(git rev-parse HEAD)"' in ran.err
    assert obsvty("stamp", "--repo", tmp_path).code == 1
    assert obsvty("stamp", "--repo", tmp_path / "absent").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_repository_without_a_commit_is_an_error(obsvty: Callable, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    ran = obsvty("stamp", "--repo", tmp_path)
    assert ran.code == 1
    assert "no commit that can be read" in ran.err


def test_a_file_that_cannot_be_written_is_an_error(obsvty: Callable, shop: tuple[Path, str]) -> None:
    ran = obsvty("stamp", "-o", os.fspath(shop[0] / "absent/stamp.json"))
    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert "-o FILE" in ran.err


def test_the_check_of_the_page_shows_each_service_with_its_revisions(obsvty: Callable, demo: object) -> None:
    page = (Path(__file__).parents[2] / "docs/revision.md").read_text(encoding="utf-8")
    question = re.search(r'^obsvty query "(.+)"$', page, re.MULTILINE)
    assert question is not None
    rows = obsvty("query", question[1], "--format", "json", "--data", demo.data).json()
    assert len([row for row in rows if row["service_name"] == "shop"]) == 2
    assert all(len(row["vcs_revision"]) == 40 for row in rows)
