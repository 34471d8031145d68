"""The kernelspec that is shipped starts a kernel that says who it is."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from obsvty.notebook.kernelspec import kernelspec_path

SPEC = Path(__file__).parents[2] / "kernelspec"


def test_the_shipped_kernelspec_starts_our_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBSVTY_DATA_DIR", str(tmp_path / "no store"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager = KernelManager(kernel_name="obsvty", transport="ipc", ip=str(tmp_path / "k"))
    spec = KernelSpec.from_resource_dir(str(SPEC))
    manager._kernel_spec = KernelSpec(argv=[sys.executable, *spec.argv[1:]], display_name=spec.display_name)
    manager.start_kernel(cwd=str(tmp_path))
    client: BlockingKernelClient = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        info = client.kernel_info(reply=True, timeout=30)["content"]
        assert info["implementation"] == "obsvty"
        assert "%obsvty help" in info["banner"]
        client.execute_interactive(
            "ready = sorted(k for k in dir() if k in ('obs', 'traces', 'logs'))", timeout=30
        )
        reply = client.execute("", user_expressions={"ready": "ready"}, reply=True, timeout=30)
        assert "['logs', 'obs', 'traces']" in json.dumps(reply["content"]["user_expressions"]["ready"])
        assert not (tmp_path / "no store").exists()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.mark.parametrize("size", [32, 64])
def test_the_logos_have_the_sizes_that_jupyter_asks_for(size: int) -> None:
    data = (SPEC / f"logo-{size}x{size}.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (size, size)
    assert (SPEC / "logo-svg.svg").read_text().startswith("<svg")


def test_a_kernelspec_is_there_even_where_none_is_installed(tmp_path: Path) -> None:
    root = kernelspec_path(tmp_path)
    spec = KernelSpecManager(kernel_dirs=[str(root / "kernels")]).get_kernel_spec("obsvty")
    assert spec.argv == [sys.executable, "-m", "obsvty.notebook.kernel", "-f", "{connection_file}"]
    shipped = json.loads((SPEC / "kernel.json").read_text())
    assert spec.argv[1:] == shipped["argv"][1:]
    assert spec.display_name == shipped["display_name"]
