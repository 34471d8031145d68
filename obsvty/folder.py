"""A data folder's tables and records, opened lazily; safe to use from several threads."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from obsvty.privacy import Ledger

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from obsvty.store.reader import Reader
    from obsvty.store.state import State

STATE_FILE = "state.db"


class DataFolder:
    """The live tables of one data folder, and its records: incidents, deliveries, egress."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._local = threading.local()
        self._readers: list[Reader] = []

    def close(self) -> None:
        """Let go of the store's connections; the next query opens a new one."""
        while self._readers:
            self._readers.pop().close()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def reader(self) -> Reader:
        """The store's read side; one for each thread, because a connection runs one query at a time."""
        known: Reader | None = getattr(self._local, "reader", None)
        if known is not None:
            return known
        from obsvty.detect.deployments import deployment_table
        from obsvty.store.reader import Reader

        reader = Reader(self.data_dir)
        reader.register("deployments", deployment_table(reader.table("traces")))
        self._local.reader = reader
        self._readers.append(reader)
        return reader

    @cached_property
    def state(self) -> State:
        """Incidents and deliveries."""
        from obsvty.store.state import State

        return State(self.data_dir / STATE_FILE)

    @cached_property
    def egress(self) -> Ledger:
        """The ledger of everything that left."""
        return Ledger(self.data_dir / STATE_FILE)

    @property
    def traces(self) -> ir.Table:
        """One row a span."""
        return self.reader.table("traces")

    @property
    def logs(self) -> ir.Table:
        """One row a log record."""
        return self.reader.table("logs")

    @property
    def metrics(self) -> ir.Table:
        """One row a metric point."""
        return self.reader.table("metrics")

    @property
    def resources(self) -> ir.Table:
        """One row a resource: what emitted the telemetry."""
        return self.reader.table("resources")

    @property
    def deployments(self) -> ir.Table:
        """One row a deployment, found in the traces."""
        return self.reader.table("deployments")
