"""Tables as Parquet whose bytes follow from their values and from the pinned pyarrow.

Loading pyarrow takes 50 MB of a process: `trading.backtests.pipeline` imports this module when it writes.
"""

import numpy as np
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
    values = column.values
    if not isinstance(values, np.ndarray):
        kind = pa.bool_() if values and all(isinstance(value, bool) for value in values) else pa.string()
        return pa.array(values, type=kind)
    if values.dtype.kind == "M":
        return pa.array(values.astype("datetime64[ns]")).cast(pa.timestamp("ns", tz="UTC"))
    values = np.ascontiguousarray(values)
    return pa.array(values, from_pandas=True)
