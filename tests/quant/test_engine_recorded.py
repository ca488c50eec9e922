"""The engine against what vectorbt said when it was last asked: tests/quant/record_engine.py."""

import json

import pytest

from tests.quant.agreement import CASES, Case, answer, ours, short
from tests.quant.series import FOLDER

RECORDED = json.loads((FOLDER / "engine_recorded.json").read_text())


def test_every_case_is_recorded() -> None:
    assert list(RECORDED["cases"]) == [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agrees_with_vectorbt(case: Case) -> None:
    expected = RECORDED["cases"][case.name]
    found = short(answer(ours(case)))
    assert found["entry_bar"] == expected["entry_bar"]
    assert found["exit_bar"] == expected["exit_bar"]
    for figure in ("final_equity", "max_drawdown"):
        assert found[figure] == pytest.approx(expected[figure], rel=1e-9, abs=1e-12)
    assert found["pnl"] == pytest.approx(expected["pnl"], rel=1e-9, abs=1e-9 * 100_000)
