import pytest

from obsvty.evidence.paths import is_third_party, repository_path

TREE = [
    "app/cards.py",
    "app/main.py",
    "payments/app/main.py",
    "main.py",
    "shop/lib/retry.py",
    "payments/lib/retry.py",
    "web/src/cards.ts",
    "jvm/src/com/shop/A.java",
]


@pytest.mark.parametrize(
    ("sent", "prefix", "found"),
    [
        ("/srv/shop/app/cards.py", "", "app/cards.py"),
        ("app/cards.py", "", "app/cards.py"),
        ("./app/cards.py", "", "app/cards.py"),
        ("C:\\build\\app\\cards.py", "", "app/cards.py"),
        ("com/shop/A.java", "", "jvm/src/com/shop/A.java"),
        ("main.py", "", "main.py"),
        ("/srv/payments/app/main.py", "", "payments/app/main.py"),
        ("/code/lib/retry.py", "payments", "payments/lib/retry.py"),
        ("/code/lib/retry.py", "", ""),
        ("/opt/venv/lib/python3.11/site-packages/app/cards.py", "", ""),
        ("/srv/other.py", "", ""),
    ],
)
def test_the_file_with_the_longest_common_end_is_meant_and_a_tie_is_no_answer(
    sent: str, prefix: str, found: str
) -> None:
    assert repository_path(sent, TREE, prefix=prefix) == found


@pytest.mark.parametrize(
    "path",
    [
        "/opt/venv/lib/python3.11/site-packages/requests/api.py",
        "/app/node_modules/express/lib/router.js",
        "node:internal/process/task_queues",
        "/usr/lib/python3.11/json/decoder.py",
        "<frozen importlib._bootstrap>",
        "/go/pkg/mod/github.com/x/y.go",
        "/rustc/abc/library/std/src/panicking.rs",
        "java/lang/Thread.java",
    ],
)
def test_installed_packages_and_the_languages_own_library_are_not_in_app(path: str) -> None:
    assert is_third_party(path)


def test_a_service_under_usr_src_is_in_app() -> None:
    assert not is_third_party("/usr/src/app/cards.py")
