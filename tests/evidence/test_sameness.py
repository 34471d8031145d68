import pytest

from obsvty.evidence.hunks import parse_diff
from obsvty.evidence.sameness import is_rename, sameness


def diff(removed: str, added: str, *, path: str = "app/a.py") -> str:
    old, new = removed.splitlines(), added.splitlines()
    body = [f"-{line}" for line in old] + [f"+{line}" for line in new]
    header = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1,{len(old)} +1,{len(new)} @@\n"
    return header + "\n".join(body) + "\n"


@pytest.mark.parametrize(
    ("removed", "added", "rename"),
    [
        ("o = create()\nlog(o)", "order_id = create()\nlog(order_id)", True),
        ("for r in rows:\n    use(r)", "for row in rows:\n    use(row)", True),
        ("def f(x):\n    return x", "def price(x):\n    return x", True),
        ("if a < b:", "if a <= b:", False),
        ("call(a)", "call(b)", False),
        ("x = 1", "x = 2", False),
        ("a = b\nb = c", "c = b\nc = c", False),
        ("one()", "one()\ntwo()", False),
    ],
)
def test_only_names_that_the_change_itself_binds_make_a_rename(
    removed: str, added: str, *, rename: bool
) -> None:
    assert is_rename(parse_diff(diff(removed, added))) is rename


def test_moved_lines_are_the_same_and_a_changed_operator_is_not() -> None:
    move = diff("    total = add(a, b)\n    send(total)", "") + diff(
        "", "    total = add(a, b)\n    send(total)", path="b.py"
    )
    assert sameness(parse_diff(move)) == 1.0
    assert sameness(parse_diff(diff("if total < limit:", "if total <= limit:"))) == 0.0
    assert sameness(parse_diff(diff("keep(this)\ndrop(that)", "keep(this)\nother(thing)"))) == 0.5
