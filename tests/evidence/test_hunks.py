from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from obsvty.evidence.candidates import touched_functions
from obsvty.evidence.hunks import file_kind, parse_diff

DIFF = """diff --git a/app/checkout.py b/app/checkout.py
index 76ebcc3..96ce8c8 100644
--- a/app/checkout.py
+++ b/app/checkout.py
@@ -18,6 +18,7 @@ class Checkout(BaseModel):
 @router.post("/checkout")
 def checkout(body: Checkout):
     sku = inventory.cart_items(body.cart_id)[0]
+    cards.validate(body.card)
     inventory.reserve(sku)
     o = inventory.create_order(body.cart_id, sku)
     payments_client.charge(o, body.card)
diff --git a/old name.py b/new name.py
similarity index 100%
rename from old name.py
rename to new name.py
diff --git a/logo.png b/logo.png
index 1..2 100644
Binary files a/logo.png and b/logo.png differ
diff --git a/odd.bin b/odd.bin
index 1..2 100644
--- a/odd.bin
+++ b/odd.bin
@@ -1,2 +1,2 @@
garbage without a prefix
diff --git a/gone.py b/gone.py
deleted file mode 100644
index 1..0
--- a/gone.py
+++ /dev/null
@@ -1,2 +0,0 @@
-a = 1
-b = 2
diff --git a/ü.py b/ü.py
index 1..2 100644
--- a/ü.py
+++ b/ü.py
@@ -3,3 +3,2 @@ def f():
     x = 1
-    y = 2
     return x
"""


def test_a_diff_gives_files_with_hunks_and_new_line_numbers_and_odd_files_do_not_spoil_it() -> None:
    found = [
        (p.path, p.old_path, p.change, [(h.start, h.end, len(h.added), len(h.removed)) for h in p.hunks])
        for p in parse_diff(DIFF)
    ]
    assert found == snapshot(
        [
            ("app/checkout.py", "app/checkout.py", "changed", [(21, 21, 1, 0)]),
            ("new name.py", "old name.py", "renamed", []),
            ("logo.png", "logo.png", "changed", []),
            ("odd.bin", "odd.bin", "changed", []),
            ("gone.py", "gone.py", "removed", [(1, 1, 0, 2)]),
            ("ü.py", "ü.py", "changed", [(4, 4, 0, 1)]),
        ]
    )


def test_the_function_of_a_change_is_the_one_opened_before_it_not_the_one_in_the_hunks_header() -> None:
    patches = {patch.path: patch for patch in parse_diff(DIFF)}
    assert touched_functions(patches["app/checkout.py"].hunks[0]) == {"checkout"}
    assert touched_functions(patches["ü.py"].hunks[0]) == {"f"}


def test_a_files_kind_follows_from_its_name() -> None:
    names = {
        "source": ["app/cards.py", "src/index.ts", "cmd/main.go"],
        "test": ["tests/test_cards.py", "src/cards.spec.ts", "pkg/cards_test.go", "conftest.py"],
        "docs": ["README.md", "docs/conf.py", "LICENSE"],
        "lock": ["uv.lock", "web/package-lock.json", "go.sum"],
        "manifest": ["pyproject.toml", "requirements-dev.txt", "package.json"],
        "config": ["deploy/app.yaml", "Dockerfile", ".github/workflows/ci.yml"],
        "other": ["static/logo.svg", "locale/de/django.po"],
    }
    assert {kind: [n for n in group if file_kind(n) != kind] for kind, group in names.items()} == {
        kind: [] for kind in names
    }


@given(st.text(alphabet="abc\n+-@ /dif\0gt", max_size=200))
@settings(max_examples=60)
def test_any_text_after_a_header_is_read_without_an_error(text: str) -> None:
    diff = f"diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,1 +1,1 @@\n{text}"
    assert parse_diff(diff)[0].path == "x.py"


def test_a_commit_without_changes_has_no_patches() -> None:
    assert parse_diff("") == []
