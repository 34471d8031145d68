"""How this room types Arrow: one `Column` for every kind of array, and the functions that make or combine them.

pyarrow's stubs give each compute function a few kinds of arrays and each array class its own parameters, so
that code which walks nested arrays would be half casts. At run time a `Column` is simply a `pyarrow.Array`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Column(Protocol):
    """The parts of `pyarrow.Array` and its nested kinds that are used here."""

    def __len__(self) -> int: ...
    def __array__(self) -> NDArray[np.generic]: ...
    @property
    def type(self) -> pa.DataType:
        """What kind of values."""
        ...

    @property
    def null_count(self) -> int:
        """Cells without a value."""
        ...

    @property
    def offset(self) -> int:
        """Where a slice begins."""
        ...

    @property
    def values(self) -> Column:
        """The children of lists."""
        ...

    @property
    def offsets(self) -> Column:
        """Where the lists begin."""
        ...

    @property
    def keys(self) -> Column:
        """The keys of maps."""
        ...

    @property
    def items(self) -> Column:
        """The values of maps."""
        ...

    @property
    def indices(self) -> Column:
        """The numbers of a dictionary."""
        ...

    @property
    def dictionary(self) -> Column:
        """Its distinct values."""
        ...

    def field(self, name: str) -> Column:
        """A child of a struct."""
        ...

    def take(self, rows: Column) -> Column:
        """The cells at these positions."""
        ...

    def cast(self, kind: pa.DataType) -> Column:
        """The same values as another type."""
        ...

    def is_valid(self) -> Column:
        """Where there is a value."""
        ...

    def is_null(self) -> Column:
        """Where there is none."""
        ...

    def drop_null(self) -> Column:
        """Only the cells with values."""
        ...

    def dictionary_encode(self) -> Column:
        """Distinct values, and their numbers."""
        ...

    def buffers(self) -> list[pa.Buffer | None]:
        """The memory behind it."""
        ...

    def to_pylist(self) -> list[object]:
        """Python values."""
        ...

    def as_py(self) -> object:
        """The Python value, of the scalars that aggregates return."""
        ...


class _Compute(Protocol):
    def __getattr__(self, name: str) -> Callable[..., Column]: ...


compute: Final = cast("_Compute", pc)
column: Final = cast("Callable[..., Column]", pa.array)
nulls: Final = cast("Callable[[int, pa.DataType], Column]", pa.nulls)
list_column: Final = cast("Callable[[Column, Column], Column]", pa.ListArray.from_arrays)
map_column: Final = cast("Callable[[Column, Column, Column], Column]", pa.MapArray.from_arrays)
string_column: Final = cast("Callable[..., Column]", pa.StringArray.from_buffers)
repeat: Final = cast("Callable[[object, int], Column]", pa.repeat)
numpy_of: Final = cast("Callable[..., NDArray[np.uint8]]", np.frombuffer)
memory: Final = cast("Callable[[object], pa.Buffer]", pa.py_buffer)
_table: Final = cast("Callable[..., pa.Table]", pa.Table.from_arrays)
_struct_column: Final = cast("Callable[..., Column]", pa.StructArray.from_arrays)


def struct_lists(lists: Column, kind: pa.DataType, children: list[Column]) -> Column:
    """`children` as structs in the same lists as before; `kind` is the type of the whole."""
    fields = list(cast("pa.ListType[pa.StructType]", kind).value_type)
    return list_column(lists.offsets, _struct_column(children, fields=fields)).cast(kind)


def table(columns: list[Column], schema: pa.Schema) -> pa.Table:
    """The columns as a table of this schema."""
    return _table(columns, schema=schema)


def first_column(batch: pa.RecordBatch) -> Column:
    """What ptars makes of a request has one column: its list of resources."""
    return cast("Column", batch.column(0))
