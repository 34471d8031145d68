"""The promise of `import_speed.py`, held."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_fifty_thousand_spans_a_second_of_one_core_are_imported() -> None:
    script = Path(__file__).with_name("import_speed.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
