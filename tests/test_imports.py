"""What is not loaded, so that starting stays fast; a list, because a clock would lie on a busy machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "anywidget",
    "bpe_openai",
    "duckdb",
    "github",
    "grpc",
    "ibis",
    "IPython",
    "mcp",
    "nbconvert",
    "nbformat",
    "numpy",
    "openai",
    "pandas",
    "ptars",
    "pyarrow",
    "slack_sdk",
    "uvicorn",
}


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("statement", ["import obsvty", "import obsvty.cli", "import mcp_server"])
def test_nothing_heavy_is_loaded_at_start(statement: str) -> None:
    assert loaded(statement) & HEAVY == set()


def test_importing_the_package_loads_next_to_nothing() -> None:
    ours = {name for name in loaded("import obsvty") if name not in sys.stdlib_module_names}
    assert ours & {"pydantic", "typer", "rich", "jinja2"} == set()


def test_every_public_name_is_there() -> None:
    import obsvty

    for name in obsvty.__all__:
        assert getattr(obsvty, name) is not None
    with pytest.raises(AttributeError):
        _ = obsvty.nothing_of_that_name
