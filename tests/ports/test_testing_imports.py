"""What plug-in authors import needs neither pytest nor a vendor's library."""

from __future__ import annotations

import subprocess
import sys


def test_testing_imports_without_pytest_and_vendors() -> None:
    code = (
        "import sys, obsvty.ports.testing; "
        "print([m for m in ('pytest', 'openai', 'slack_sdk', 'github', 'duckdb', 'ibis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
