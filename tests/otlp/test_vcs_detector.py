"""The `vcs` resource detector: in real repositories, under the real SDK, and where everything is broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource

from obsvty.otlp.decode import decode
from obsvty.otlp.http import HttpReceiver
from obsvty.otlp.vcs import NAME, REVISION, STAMP_FILE, URL, VARIABLES, Places, attributes, places
from obsvty.otlp.vcs_detector import VcsResourceDetector
from obsvty.otlp.vcs_git import find_git_dir, full_hash, read_checkout, web_url

ROOT = Path(__file__).parents[2]
ENTRY_POINT = "obsvty.otlp.vcs_detector:VcsResourceDetector"
ONE, TWO = "1" * 39 + "a", "2" * 39 + "b"

PROGRAM = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
with provider.get_tracer("program").start_as_current_span("GET /checkout"):
    pass
provider.shutdown()
"""


def git(folder: Path, *arguments: str) -> str:
    who = {"NAME": "Ada Byron", "EMAIL": "ada@shop.example", "DATE": "1790000000 +0000"}
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    }
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD")


def here(folder: Path, **environment: str) -> dict[str, str]:
    """Attributes of a process whose working folder is `folder`."""
    return attributes({"GIT_CEILING_DIRECTORIES": str(folder.parent), **environment}, places(folder, None))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for subject in ("first", "second"):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", subject)
    git(folder, "remote", "add", "origin", "git@github.com:example/shop.git")
    return folder


def environment_of_a_program(site: Path, **more: str) -> dict[str, str]:
    """The detector as an installed entry point: a distribution's metadata on PYTHONPATH."""
    metadata = site / "vcs_of_this_test-1.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vcs-of-this-test\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text(
        f"[opentelemetry_resource_detector]\nvcs = {ENTRY_POINT}\n", "utf-8"
    )
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,vcs",
        "OTEL_SERVICE_NAME": "shop",
        **more,
    }


def run(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "resource detector" not in done.stderr
    return done.stdout


def test_a_program_under_the_sdk_exports_the_revision_of_its_repository(
    repository: Path, tmp_path: Path, http_receiver: HttpReceiver, collected: object
) -> None:
    (repository / "program.py").write_text(PROGRAM, "utf-8")
    endpoint = f"http://127.0.0.1:{http_receiver.port}"
    environment = environment_of_a_program(tmp_path / "site", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    run(tmp_path, environment, str(repository / "program.py"))

    tables = decode("traces", collected.wait_for("traces"))
    assert tables["traces"]["vcs_revision"].to_pylist() == [head(repository)]
    sent = dict(tables["resources"]["attributes"].to_pylist()[0])
    assert sent[REVISION] == head(repository)
    assert sent[NAME] == "main"
    assert sent[URL] == "https://github.com/example/shop"


def test_what_otel_resource_attributes_states_wins_in_either_order(repository: Path, tmp_path: Path) -> None:
    program = "from opentelemetry.sdk.resources import Resource as R; print(R.create().to_json())"
    for order in ("otel,vcs", "vcs,otel", "vcs"):
        environment = environment_of_a_program(
            tmp_path / "site",
            OTEL_RESOURCE_ATTRIBUTES=f"vcs.ref.head.revision={ONE}",
            OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=order,
        )
        sent = json.loads(run(repository, environment, "-c", program))["attributes"]
        assert sent[REVISION] == ONE
        assert URL not in sent  # the repository's HEAD is another commit: it may be other code


def test_the_detector_loads_nothing_heavy_and_its_package_stays_empty(tmp_path: Path) -> None:
    program = (
        "import sys; import opentelemetry.sdk.resources; before = set(sys.modules)\n"
        "from obsvty.otlp.vcs_detector import VcsResourceDetector as V; V().detect()\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    new = run(tmp_path, environment_of_a_program(tmp_path / "site"), "-c", program).split()
    ours = {"obsvty", "obsvty.otlp", "obsvty.otlp.vcs", "obsvty.otlp.vcs_git", "obsvty.otlp.vcs_detector"}
    assert {name for name in new if name.split(".")[0] not in sys.stdlib_module_names} == ours


def test_the_detector_starts_no_process_opens_no_connection_and_writes_nothing(
    repository: Path, tmp_path: Path
) -> None:
    program = (
        "import os, sys; from obsvty.otlp.vcs_detector import VcsResourceDetector as V\n"
        "seen = []; sys.addaudithook(lambda event, arguments: seen.append((event, arguments)))\n"
        "V().detect(); seen = list(seen)\n"
        "print(*sorted({event for event, _ in seen}))\n"
        "print(all(arguments[2] & 3 == os.O_RDONLY for event, arguments in seen if event == 'open'))"
    )
    environment = environment_of_a_program(tmp_path / "site")
    assert run(repository, environment, "-B", "-c", program).split() == ["open", "True"]


def test_the_wheel_declares_the_detector_to_the_sdk() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["opentelemetry_resource_detector"] == {"vcs": ENTRY_POINT}


def test_a_branch_is_read_loose_and_packed(repository: Path) -> None:
    expected = {REVISION: head(repository), NAME: "main", URL: "https://github.com/example/shop"}
    assert here(repository) == expected
    git(repository, "branch", "main-2", "HEAD~1")
    git(repository, "tag", "-a", "v1", "-m", "annotated")
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git/refs/heads/main").exists()
    assert here(repository) == expected


def test_a_folder_deep_inside_the_work_tree_is_enough(repository: Path) -> None:
    (repository / "a/b/c").mkdir(parents=True)
    assert attributes({}, places(repository / "a/b/c", None))[REVISION] == head(repository)


def test_a_detached_head_has_a_revision_and_no_name(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach", "HEAD~1")
    assert here(repository) == {REVISION: head(repository), URL: "https://github.com/example/shop"}


@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_worktree_has_its_own_head_and_the_common_origin(
    repository: Path, tmp_path: Path, packed: bool
) -> None:
    other = tmp_path / "other"
    git(repository, "worktree", "add", "--quiet", "-b", "feature/slow", str(other))
    git(other, "commit", "--quiet", "--allow-empty", "-m", "third")
    if packed:
        git(repository, "pack-refs", "--all")
    assert here(other) == {
        REVISION: head(other),
        NAME: "feature/slow",
        URL: "https://github.com/example/shop",
    }
    assert head(other) != head(repository)


def test_a_submodule_speaks_for_itself(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(
        *(outer, "-c", "protocol.file.allow=always"),
        *("submodule", "--quiet", "add", str(repository), "inner"),
    )
    git(outer, "commit", "--quiet", "-m", "with a submodule")
    assert here(outer / "inner")[REVISION] == head(repository) != head(outer)


def test_a_sha256_repository_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    assert len(here(tmp_path)[REVISION]) == 64


def test_an_unborn_branch_has_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert here(tmp_path) == {}


def test_the_environment_comes_before_the_stamp_and_the_stamp_before_git(repository: Path) -> None:
    (repository / STAMP_FILE).write_text(json.dumps({REVISION: TWO, NAME: "release"}), "utf-8")
    assert here(repository) == {REVISION: TWO, NAME: "release"}
    assert here(repository, GITHUB_SHA=ONE) == {REVISION: ONE}
    assert here(repository, GITHUB_SHA=ONE, VCS_REF_HEAD_REVISION=TWO) == {REVISION: TWO, NAME: "release"}
    (repository / STAMP_FILE).unlink()
    assert here(repository)[REVISION] == head(repository)


def test_a_later_source_adds_what_it_knows_of_the_same_revision(repository: Path) -> None:
    assert here(repository, HEROKU_SLUG_COMMIT=head(repository).upper()) == {
        REVISION: head(repository),
        NAME: "main",
        URL: "https://github.com/example/shop",
    }


def test_every_name_that_obsvty_reads_as_the_revision_is_respected_when_stated(repository: Path) -> None:
    from obsvty.otlp.normalize import RESOURCE_NAMES

    for name in RESOURCE_NAMES["vcs_revision"][1:]:
        assert here(repository, OTEL_RESOURCE_ATTRIBUTES=f"{name}=v1.5.0") == {}
        assert here(repository, OTEL_RESOURCE_ATTRIBUTES=f"{name}={ONE}") == {REVISION: ONE}


@pytest.mark.parametrize("variable", [row[0] for row in VARIABLES])
def test_a_variable_counts_only_with_a_full_hash(tmp_path: Path, variable: str) -> None:
    assert here(tmp_path, **{variable: ONE}) == {REVISION: ONE}
    for value in ("", "main", "1.5.0", ONE[:12], "0" * 40, ONE + "0", f"{ONE}; rm"):
        assert here(tmp_path, **{variable: value}) == {}


def test_branch_and_repository_of_a_ci_job_are_read_with_its_revision(tmp_path: Path) -> None:
    github = {
        "GITHUB_REF_NAME": "main",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "example/shop",
    }
    assert here(tmp_path, GITHUB_SHA=ONE, **github) == {
        REVISION: ONE,
        NAME: "main",
        URL: "https://github.com/example/shop",
    }
    jenkins = {"GIT_BRANCH": "origin/main", "GIT_URL": "https://bot:secret@git.example/shop.git"}
    assert here(tmp_path, GIT_COMMIT=ONE, **jenkins) == {
        REVISION: ONE,
        NAME: "main",
        URL: "https://git.example/shop",
    }


def test_a_stamp_is_found_by_variable_upwards_and_beside_the_main_file(tmp_path: Path) -> None:
    inner, elsewhere = tmp_path / "app/inner", tmp_path / "elsewhere"
    for folder in (inner, elsewhere):
        folder.mkdir(parents=True)
    stamp = json.dumps({REVISION: ONE})
    (tmp_path / "app" / STAMP_FILE).write_text(stamp, "utf-8")
    assert attributes({}, places(inner, None)) == {REVISION: ONE}
    assert attributes({}, places(elsewhere, tmp_path / "app/main.py")) == {REVISION: ONE}
    assert attributes({}, places(elsewhere, tmp_path / "app/launcher")) == {REVISION: ONE}
    (tmp_path / "named.json").write_text(json.dumps({REVISION: TWO}), "utf-8")
    assert here(inner, OBSVTY_BUILD_STAMP=str(tmp_path / "named.json")) == {REVISION: TWO}


def test_the_program_s_folder_comes_before_the_working_folder_but_a_launcher_s_does_not(
    repository: Path, tmp_path: Path
) -> None:
    other = tmp_path / "dotfiles"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "other")
    assert attributes({}, places(other, repository / "main.py"))[REVISION] == head(repository)
    for launcher in (
        "bin/uvicorn",
        "bin/manage.py",
        ".venv/lib/python3.13/site-packages/gunicorn/__main__.py",
    ):
        assert attributes({}, places(repository, other / launcher))[REVISION] == head(repository)


def test_a_tag_stated_in_otel_resource_attributes_is_left_alone(repository: Path) -> None:
    stated = "vcs.ref.head.revision=v1.5.0,service.name=shop,broken,vcs.repository.url.full=https%3A%2F%2Fa.example"
    assert here(repository, OTEL_RESOURCE_ATTRIBUTES=stated) == {
        REVISION: "v1.5.0",
        URL: "https://a.example",
    }
    empty = "vcs.ref.head.revision="  # a build argument that was not given
    assert here(repository, OTEL_RESOURCE_ATTRIBUTES=empty)[REVISION] == head(repository)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:example/shop.git", "https://github.com/example/shop"),
        ("ssh://git@git.example:2222/team/shop.git", "https://git.example/team/shop"),
        ("ssh://git@ssh.github.com:443/example/shop.git", "https://github.com/example/shop"),
        ("git@ssh.dev.azure.com:v3/org/project/shop", "https://dev.azure.com/org/project/_git/shop"),
        ("https://GitHub.com/example/shop.git/", "https://github.com/example/shop"),
        ("https://bot:secret@git.example/shop", "https://git.example/shop"),
        ("https://secret@git.example:8443/shop.git?token=secret#secret", "https://git.example:8443/shop"),
        ("http://gitea:3000/team/shop.git", "http://gitea:3000/team/shop"),
        ("https://bot:sec/secret@git.example/shop", ""),
        ("https://bot:12/secret@git.example/shop", ""),
        ("https://bot.example:12?secret@git.example/shop", ""),
        ("https://sec#secret@git.example/shop", ""),
        ("work:example/shop.git", ""),
        ("/srv/git/secret.git", ""),
        ("../secret", ""),
        ("file:///srv/secret.git", ""),
        ("C:\\secret\\shop", ""),
        ("https://git.example/", ""),
        ("https://git.example/a\nb", ""),
        ("", ""),
    ],
)
def test_a_remote_becomes_an_address_without_credentials_or_nothing(remote: str, url: str) -> None:
    assert web_url(remote) == url
    assert "secret" not in web_url(remote)


SECRET = st.text("abcXYZ019-_.~:%@/?#!$&", min_size=4, max_size=20).map(lambda text: f"hunter2{text}")


@given(user=SECRET, password=SECRET, scheme=st.sampled_from(["https://", "http://", "ssh://", ""]))
def test_no_password_survives_however_it_is_written(user: str, password: str, scheme: str) -> None:
    for remote in (f"{scheme}{user}:{password}@git.example/o/r.git", f"{scheme}{user}@git.example:o/r.git"):
        assert "hunter2" not in web_url(remote)


@given(st.text())
def test_any_text_is_a_url_or_nothing_and_a_hash_or_nothing(text: str) -> None:
    assert web_url(text) == "" or web_url(text).startswith(("https://", "http://"))
    assert len(full_hash(text)) in (0, 40, 64)


def test_origin_is_read_among_other_remotes_and_a_push_address_is_not_it(repository: Path) -> None:
    git(repository, "remote", "add", "a", "https://a.example/x/y")
    git(repository, "config", "remote.origin.pushurl", "https://push.example/x/y")
    git(repository, "config", "--add", "remote.origin.url", "https://second.example/x/y")
    assert here(repository)[URL] == "https://github.com/example/shop"
    git(repository, "remote", "remove", "origin")
    assert URL not in here(repository)


def broken(dot_git: Path) -> None:
    dot_git.mkdir()
    (dot_git / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    (dot_git / "refs/heads").mkdir(parents=True)


def symbolic_loop(dot_git: Path) -> None:
    broken(dot_git)
    (dot_git / "refs/heads/main").write_text("ref: refs/heads/other\n", "utf-8")
    (dot_git / "refs/heads/other").write_text("ref: refs/heads/main\n", "utf-8")


def pipes(dot_git: Path) -> None:
    broken(dot_git)
    for name in ("refs/heads/main", "packed-refs", "config", "commondir"):
        os.mkfifo(dot_git / name)


def link_loop(dot_git: Path) -> None:
    dot_git.symlink_to(dot_git)


def file_that_names_itself(dot_git: Path) -> None:
    dot_git.write_text("gitdir: .git\n", "utf-8")


def file_with_a_zero_byte(dot_git: Path) -> None:
    dot_git.write_bytes(b"gitdir: /a\x00b\n")


def file_that_names_a_device(dot_git: Path) -> None:
    broken(dot_git)
    (dot_git / "HEAD").unlink()
    (dot_git / "HEAD").symlink_to("/dev/zero")


def huge_head(dot_git: Path) -> None:
    broken(dot_git)
    with (dot_git / "HEAD").open("wb") as file:
        file.truncate(1 << 34)


def huge_packed_references(dot_git: Path) -> None:
    broken(dot_git)
    with (dot_git / "packed-refs").open("wb") as file:
        file.truncate(1 << 34)


def reference_outside(dot_git: Path) -> None:
    broken(dot_git)
    (dot_git / "HEAD").write_text("ref: refs/../../../hash\n", "utf-8")
    (dot_git.parents[1] / "hash").write_text(ONE, "utf-8")


def noise(dot_git: Path) -> None:
    broken(dot_git)
    (dot_git / "refs/heads/main").write_bytes(bytes(range(256)) * 8)
    (dot_git / "packed-refs").write_bytes(b"\xff refs/heads/main\n")


def future_format(dot_git: Path) -> None:
    broken(dot_git)
    (dot_git / "HEAD").write_text("ref: refs/heads/.invalid\n", "utf-8")  # what a reftable repository has


BROKEN = [
    *(broken, symbolic_loop, pipes, link_loop, file_that_names_itself, file_with_a_zero_byte),
    *(file_that_names_a_device, huge_head, huge_packed_references, reference_outside, noise, future_format),
]


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_repository_gives_nothing_and_no_exception(tmp_path: Path, damage: object) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    damage(folder / ".git")
    assert here(folder) == {}


@pytest.mark.parametrize(
    "content",
    [
        *("", "null", "[]", "{", '"text"', "[" * 60_000, '{"vcs.ref.head.revision": 7}', "\x00\xff"),
        *('{"vcs.ref.head.revision": "main"}', '{"vcs.ref.head.revision": {"a": 1}}', "9" * 60_000),
        *(" " * 70_000 + json.dumps({REVISION: ONE}),),
    ],
)
def test_a_stamp_that_is_none_counts_as_absent(tmp_path: Path, content: str) -> None:
    (tmp_path / STAMP_FILE).write_text(content, "utf-8")
    assert here(tmp_path) == {}


def test_a_stamp_that_is_a_pipe_or_a_folder_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / STAMP_FILE)
    assert here(tmp_path) == {}
    assert here(tmp_path, OBSVTY_BUILD_STAMP=str(tmp_path)) == {}
    assert here(tmp_path, OBSVTY_BUILD_STAMP=str(tmp_path / "absent")) == {}


def test_the_search_upwards_ends_after_64_folders_and_at_a_ceiling(repository: Path) -> None:
    deep = repository.joinpath(*("d" for _ in range(80)))
    deep.mkdir(parents=True)
    assert find_git_dir(deep) is None
    assert find_git_dir(repository / "d/d") == repository / ".git"
    assert find_git_dir(repository / "d/d", [str(repository)]) is None


def test_a_process_whose_folder_was_removed_starts_all_the_same(tmp_path: Path) -> None:
    program = (
        "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from obsvty.otlp.vcs_detector import VcsResourceDetector as V; print(dict(V().detect().attributes))"
    )
    assert run(tmp_path, environment_of_a_program(tmp_path / "site"), "-c", program).strip() == "{}"


def test_the_detector_answers_with_a_resource_of_this_very_process() -> None:
    found = VcsResourceDetector().detect()
    assert isinstance(found, Resource)
    assert found.schema_url == ""  # a schema of its own would make the SDK drop the whole resource


def test_an_error_inside_becomes_an_empty_resource(tmp_path: Path) -> None:
    program = (
        "import os; from obsvty.otlp import vcs_detector as d\n"
        "class Hostile(dict):\n    def get(self, *_): raise RuntimeError\n"
        "os.environ = Hostile()\n"
        "print(dict(d.VcsResourceDetector().detect().attributes))"
    )
    assert run(tmp_path, environment_of_a_program(tmp_path / "site"), "-c", program).strip() == "{}"


def test_a_bare_repository_is_read_where_it_is_named(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "bare.git")
    found = read_checkout(tmp_path / "bare.git")
    assert found is not None
    assert (found.revision, found.name, found.url) == (head(repository), "main", "")


def test_nothing_is_known_where_nothing_is() -> None:
    assert attributes({}, Places()) == {}


PAGE = (ROOT / "docs" / "revision.md").read_text(encoding="utf-8")


def test_the_page_names_every_variable_and_no_other() -> None:
    table = PAGE.split("| Set by | Variables |")[1].split("\n\n")[0]
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+[A-Z0-9])`", table))
    ours = {row[0] for row in VARIABLES} | {VARIABLES[0][1], *VARIABLES[0][2]}
    assert named == {name for name in ours if not name.startswith("OTEL_")}


def test_what_the_page_says_about_versions_is_what_is_read() -> None:
    from obsvty.otlp.normalize import RESOURCE_NAMES, revision_in_version

    table = PAGE.split("| Sent | Column")[1].split("\n\n")[0]
    assert all(f"`{name}`" in table for name in RESOURCE_NAMES["vcs_revision"])
    read = {version: revision_in_version(version) for version in re.findall(r"`([0-9][^`]+)`", table)}
    assert read == {
        "3580ae37becc": "3580ae37becc",
        "1.5.0+3580ae3": "3580ae3",
        "1.5.0+build.7.g3580ae3": "3580ae3",
    }
    assert revision_in_version("v1.5.0-12-g3580ae3") is revision_in_version("20261125") is None


def test_what_the_page_says_about_tags_and_moving_names_is_what_is_resolved(repository: Path) -> None:
    from obsvty.evidence.ranges import resolve_telemetry_revision
    from obsvty.plugins.git_local import LocalGitProvider
    from obsvty.ports.git import GitConfig

    git(repository, "tag", "v1.5.0")
    provider = LocalGitProvider(GitConfig(repository=str(repository)))
    revision = head(repository)
    for version in ("1.5.0", "v1.5.0", f"v1.5.0-12-g{revision[:9]}", f"1.5.0+{revision}"):
        assert resolve_telemetry_revision(provider, version) == revision
    for version in ("main", "HEAD", "latest", "1.6.0"):
        assert resolve_telemetry_revision(provider, version) == ""


def test_the_stamp_of_the_page_is_a_stamp(tmp_path: Path) -> None:
    stamp = PAGE.split("```json\n")[1].split("```")[0]
    (tmp_path / STAMP_FILE).write_text(stamp, "utf-8")
    assert here(tmp_path) == json.loads(stamp)
