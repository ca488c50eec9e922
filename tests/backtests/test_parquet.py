"""Parquet beside CSV: the same tables, with types, in bytes that come out again, and loaded only by who writes it."""

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.backtests.sweeps.test_judgement import WIDE, work_of
from tests.backtests.test_config import changed
from trading.backtests import candles, tables
from trading.backtests.parquet import parquet
from trading.backtests.parsing import parse
from trading.backtests.work import Work

CONFIG = changed(
    symbol=None,
    symbols=["TEST1", "TEST,2"],
    timeframe="1h",
    end="2024-01-20",
    validation={"bootstrap": {"trials": 20}},
)


def artifacts() -> dict[str, bytes]:
    config = parse({name: value for name, value in CONFIG.items() if value is not None})
    return Work(config, lambda: [candles.synthetic(symbol, config) for symbol in config.traded]).artifacts()


def test_each_table_says_the_same_in_both_forms() -> None:
    found = artifacts() | work_of(WIDE).artifacts(work_of(WIDE).judgement)
    names = [name.removesuffix(".parquet") for name in found if name.endswith(".parquet")]
    assert sorted(names) == ["draws", "equity", "features", "fills", "points", "positions", "trades"]
    for name in names:
        written = pd.read_parquet(io.BytesIO(found[f"{name}.parquet"]))
        plain = pd.read_csv(io.BytesIO(found[f"{name}.csv"]))
        assert len(written) > 0
        assert list(written.columns) == list(plain.columns)
        for column in written:
            if column.endswith("time"):
                assert str(written[column].dtype) == "datetime64[ns, UTC]"
                plain[column] = pd.to_datetime(plain[column])
                assert (written[column] == plain[column]).all()
            elif written[column].dtype.kind in "fi":
                np.testing.assert_array_equal(written[column].to_numpy(), plain[column].to_numpy())
            else:
                assert written[column].tolist() == plain[column].tolist()


def test_the_bytes_come_out_again() -> None:
    one, again = artifacts(), artifacts()
    assert one == again
    meta = pq.read_metadata(io.BytesIO(one["equity.parquet"]))
    assert meta.row_group(0).column(1).compression == "ZSTD"


def test_a_table_without_rows_keeps_its_columns() -> None:
    table = [tables.floats("price", np.empty(0)), tables.words("symbol", [])]
    found = pq.read_table(io.BytesIO(parquet(table)))
    assert (found.num_rows, found.column_names) == (0, ["price", "symbol"])
    assert str(found.schema.field("symbol").type) == "string"


@pytest.mark.parametrize("module", ["workers.jobs", "trading.backtests.pipeline", "workers.jobs.sweep"])
def test_only_who_writes_parquet_loads_pyarrow(module: str) -> None:
    code = (
        "import django, sys, importlib; django.setup();"
        f" importlib.import_module('{module}'); sys.exit('pyarrow' in sys.modules or 'pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment())


def test_writing_does_not_load_pandas() -> None:
    code = (
        "import sys, numpy as np; from trading.backtests import tables; from trading.backtests.parquet import parquet;"
        " times = np.arange(2).astype('datetime64[ns]');"
        " parquet([tables.floats('a', np.array([1.0, np.nan])), tables.words('b', ['x', 'é']),"
        " tables.whole('c', np.array([1, 2])), tables.Column('d', ['true', 'false'], [True, False]),"
        " tables.Column('e', ['1', '2'], times)]);"
        " sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment())


def test_each_kind_of_column_comes_back() -> None:
    """Nine rows, so that the bits of truth and of missing numbers take more than a byte."""
    moments = np.array([np.datetime64(f"2024-01-0{day}T00:00:00.123456789", "ns") for day in range(1, 10)])
    prices = np.array([np.nan, 1.5, -0.0, np.inf, 5e-324, 0.1, 2.0, 3.0, np.nan])
    signs = [True, False, False, True, True, False, True, False, True]
    letters = ["", "a", "é", "日本", 'b"', "c,d", "e\n", "f", "😀"]
    table = [
        tables.Column("moment", letters, moments),
        tables.floats("price", prices),
        tables.whole("count", np.arange(9) - 4),
        tables.Column("sign", letters, signs),
        tables.words("word", letters),
    ]
    found = pq.read_table(io.BytesIO(parquet(table))).to_pydict()
    assert [moment.value for moment in found["moment"]] == moments.view(np.int64).tolist()
    assert found["price"][0] is None
    assert found["price"][8] is None
    assert np.array(found["price"][1:8]).tobytes() == prices[1:8].tobytes()
    assert found["count"] == list(range(-4, 5))
    assert (found["sign"], found["word"]) == (signs, letters)


def _environment() -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings.test"}
