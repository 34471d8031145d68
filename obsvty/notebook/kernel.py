"""The obsvty kernel: IPython with `obs`, `traces`, `logs`, `metrics` ready and the magics loaded.

Nothing here imports Ibis at start, so the kernel is ready as fast as plain IPython's; that comes when it is idle.
"""

from __future__ import annotations

import importlib
from typing import Final

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

import obsvty.notebook.magics

BANNER: Final = "Obsvty kernel: `obs`, `traces`, `logs`, `metrics` are ready. %obsvty help says the rest."
_WARM_AFTER_S: Final = 0.5  # the first kernel_info reply is out by then; importing at once would delay it


class ObsvtyKernel(IPythonKernel):
    """IPython's kernel with the extension `obsvty` loaded."""

    implementation = "obsvty"
    implementation_version = "1"
    banner = BANNER  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride] a property there

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if self.shell is not None:
            obsvty.notebook.magics.load_ipython_extension(self.shell)

    def start(self) -> None:
        """Answer messages, then warm Ibis: its import takes about a second that the first query need not wait for."""
        super().start()
        # on the loop's own thread: a second thread that imports Ibis while a cell does deadlocks in import locks (seen)
        self.io_loop.call_later(_WARM_AFTER_S, importlib.import_module, "ibis")


def main() -> None:
    """What the kernelspec starts: `python -m obsvty.notebook.kernel -f FILE`."""
    IPKernelApp.launch_instance(kernel_class=ObsvtyKernel)


if __name__ == "__main__":
    main()
