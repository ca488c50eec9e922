"""Tables as Parquet whose bytes follow from their values and from the pinned pyarrow.

Loading pyarrow takes 50 MB of a process: `trading.backtests.pipeline` imports this module when it writes.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trading.backtests.tables import Column, Table

ROW_GROUP = 1 << 20


def parquet(table: Table) -> bytes:
    """The columns with their types: doubles (NaN is null), 64-bit integers, nanoseconds in UTC, strings, booleans.

    Every option that shapes the bytes is named here; the writer uses one thread, and no clock is asked.
    """
    arrays = [_array(column) for column in table]
    words = [column.name for column, array in zip(table, arrays, strict=True) if pa.types.is_string(array.type)]
    schema = pa.schema([(column.name, array.type) for column, array in zip(table, arrays, strict=True)])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=words,
        write_statistics=True,
        store_schema=True,
    ) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP)
    return bytes(sink.getvalue())


def _array(column: Column) -> pa.Array:
    """The values as Arrow lays them out.

    Made by hand, since `pyarrow.array` loads pandas first, and that takes longer than all that a run has to write.
    """
    values = column.values
    count = len(values)
    if not isinstance(values, np.ndarray):
        if values and all(isinstance(value, bool) for value in values):
            return pa.Array.from_buffers(pa.bool_(), count, [None, _bits(np.array(values, dtype=bool))])
        bytes_of = {value: str(value).encode() for value in set(values)}  # the same few over and over
        encoded = [bytes_of[value] for value in values]
        ends = np.zeros(count + 1, dtype=np.int32)
        np.cumsum([len(word) for word in encoded], out=ends[1:])
        return pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
    if values.dtype.kind == "M":
        moments = np.ascontiguousarray(values.astype("datetime64[ns]").view(np.int64))
        return pa.Array.from_buffers(pa.timestamp("ns", tz="UTC"), count, [None, pa.py_buffer(moments)])
    values = np.ascontiguousarray(values)
    kind, missing = pa.from_numpy_dtype(values.dtype), np.isnan(values)
    known = _bits(~missing) if missing.any() else None
    return pa.Array.from_buffers(kind, count, [known, pa.py_buffer(values)])


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    """A bit for each, the lowest of a byte first."""
    return pa.py_buffer(np.packbits(values, bitorder="little").tobytes())
