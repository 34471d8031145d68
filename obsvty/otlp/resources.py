"""Resource and scope columns: worked out once a resource or scope, then repeated for its rows."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, cast

import pyarrow as pa

from obsvty.otlp.columns import column, compute, first_column
from obsvty.otlp.flatten import attribute_map, build, map_rows, optional_text, parents
from obsvty.otlp.normalize import RESOURCE_NAMES, resource_columns
from obsvty.store.schema import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from obsvty.otlp.columns import Column

Pairs = list[tuple[str, str | None]]
_COLUMNS: Final = (*RESOURCE_NAMES, "resource_id")


def resource_id(attributes: Sequence[tuple[str, str | None]]) -> str:
    """16 hex digits that stand for a resource: blake2b-8 of its sorted attributes. The same resource, the same id."""
    ordered = sorted(attributes, key=lambda pair: (pair[0], pair[1] is not None, pair[1] or ""))
    return hashlib.blake2b(json.dumps(ordered).encode(), digest_size=8).hexdigest()


class Scopes:
    """The resources and scopes of one parsed batch, and how rows reach them."""

    def __init__(self, batch: pa.RecordBatch, scope_lists: str, rows: str) -> None:
        """Args: what ptars returned, and the names of the two lists, e.g. "scope_spans" and "spans"."""
        resources = first_column(batch).values
        scope_list = resources.field(scope_lists)
        self._scopes = scope_list.values
        self._resource_of_scope = parents(scope_list)
        self._resource_urls = optional_text(resources.field("schema_url"))
        resource = resources.field("resource")
        self.row_list = self._scopes.field(rows)
        self.rows = self.row_list.values

        attributes = attribute_map(resource.field("attributes"))
        dropped = cast("list[int | None]", resource.field("dropped_attributes_count").to_pylist())
        columns: dict[str, list[str | None]] = {name: [] for name in _COLUMNS}
        known: dict[str, tuple[Pairs, int]] = {}
        for pairs, count in zip(cast("list[Pairs | None]", attributes.to_pylist()), dropped, strict=True):
            key = resource_id(pairs or [])
            known.setdefault(key, (pairs or [], count or 0))
            first_of_doubled = dict(reversed(pairs or []))
            values = resource_columns(first_of_doubled)
            for name in RESOURCE_NAMES:
                columns[name].append(values[name])
            columns["resource_id"].append(key)
        self._columns = {name: column(texts, pa.string()) for name, texts in columns.items()}
        self.resources = build(
            RESOURCES,
            {
                "resource_id": column(list(known), pa.string()),
                "attributes": column(
                    [pairs for pairs, _ in known.values()], RESOURCES.field("attributes").type
                ),
                "dropped_attributes_count": column([count for _, count in known.values()], pa.uint32()),
            },
            len(known),
        )

    def columns(self, scope_of: NDArray[np.int64]) -> dict[str, Column]:
        """The resource and scope columns of rows that lie in these scopes."""
        resource_of = column(self._resource_of_scope[scope_of])
        scopes = column(scope_of)
        scope = self._scopes.field("scope")
        columns = {name: values.take(resource_of) for name, values in self._columns.items()}
        columns["resource_schema_url"] = self._resource_urls.take(resource_of)
        columns["scope_name"] = optional_text(scope.field("name")).take(scopes)
        columns["scope_version"] = optional_text(scope.field("version")).take(scopes)
        maps = attribute_map(scope.field("attributes"))
        columns["scope_attributes"] = map_rows(maps, scope_of)
        dropped = compute.fill_null(scope.field("dropped_attributes_count"), 0)
        columns["scope_dropped_attributes_count"] = dropped.take(scopes)
        columns["scope_schema_url"] = optional_text(self._scopes.field("schema_url")).take(scopes)
        return columns
