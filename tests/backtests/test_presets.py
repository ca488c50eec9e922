"""Presets: one for each content, and each its client's alone."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from tests.backtests.conftest import Send, sender
from tests.backtests.test_config import MINIMAL
from trading.backtests.models import Preset
from trading.tenants.models import Client, Role

pytestmark = pytest.mark.django_db
# As a user of the older backend sends it.
BODY: dict[str, Any] = {
    "name": "dual_sma_default",
    "config": {
        "symbol": "TEST",
        "timeframe": "1m",
        "start": "2024-01-01",
        "end": "2024-01-02",
        "indicators": [{"name": "dual_sma", "params": {"fast": 5, "slow": 20}}],
        "strategy": {"name": "dual_sma", "params": {}},
        "risk": {"model": "fixed_fraction", "params": {"fraction": 0.1}},
        "execution": {"slippage_bps": 5, "fee_bps": 0},
        "validation": {},
        "seed": 42,
    },
}


def test_a_preset_is_kept_once_read_listed_and_deleted(ann: Send) -> None:
    first = ann("POST", "/presets", BODY)
    again = ann("POST", "/presets", {"config": dict(reversed(BODY["config"].items())), "name": BODY["name"]})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    preset_id = first.json()["preset_id"]
    assert ann("GET", f"/presets/{preset_id}").json() == first.json()
    assert ann("GET", "/presets").json() == {"results": [first.json()], "next": None}
    assert ann("DELETE", f"/presets/{preset_id}").status_code == 204
    assert ann("DELETE", f"/presets/{preset_id}").status_code == 404
    assert ann("GET", "/presets").json()["results"] == []


def test_the_id_is_the_hash_of_name_and_configuration(ann: Send) -> None:
    shown = ann("POST", "/presets", BODY).json()
    from trading.backtests.parsing import parse

    text = b'{"config":%s,"name":"dual_sma_default"}' % parse(BODY["config"]).canonical()
    assert shown["preset_id"] == hashlib.sha256(text).hexdigest()
    assert ann("POST", "/presets", {**BODY, "name": "other"}).json()["preset_id"] != shown["preset_id"]


def test_what_is_kept_is_a_configuration_that_could_run(ann: Send) -> None:
    shown = ann("POST", "/presets", BODY).json()
    assert shown["config"]["seed"] == 42
    assert shown["config"]["execution"]["borrow_cost_bps"] == 0  # filled in


def test_another_clients_preset_is_as_if_it_did_not_exist(ann: Send, bob: Send) -> None:
    preset_id = ann("POST", "/presets", BODY).json()["preset_id"]
    assert bob("GET", f"/presets/{preset_id}").status_code == 404
    assert bob("DELETE", f"/presets/{preset_id}").status_code == 404
    assert bob("GET", "/presets").json()["results"] == []
    assert bob("POST", "/presets", BODY).status_code == 201  # nothing tells that Alpha has one
    assert ann("GET", f"/presets/{preset_id}").status_code == 200


def test_readers_look_and_operators_belong_to_no_client(alpha: Client, ann: Send) -> None:
    preset_id = ann("POST", "/presets", BODY).json()["preset_id"]
    reader, operator = sender(alpha, Role.READ_ONLY), sender(None, Role.OPERATOR)
    assert reader("GET", f"/presets/{preset_id}").status_code == 200
    for send in (reader, operator):
        assert send("POST", "/presets", BODY).status_code == 403
        assert send("DELETE", f"/presets/{preset_id}").status_code == 403
    assert operator("GET", f"/presets/{preset_id}").status_code == 200


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "name"]),
        ({**BODY, "name": ""}, ["body", "name"]),
        ({**BODY, "name": "a\nb"}, ["body", "name"]),
        ({**BODY, "name": "x" * 121}, ["body", "name"]),
        ({**BODY, "colour": 1}, ["body", "colour"]),
        ({"name": "a"}, ["body", "config"]),
        ({"name": "a", "config": [1]}, ["body", "config"]),
        ({"name": "a", "config": {**MINIMAL, "seed": -1}}, ["body", "config", "seed"]),
    ],
)
def test_what_is_no_preset_says_where(ann: Send, body: Any, loc: list[str]) -> None:
    answer = ann("POST", "/presets", body)
    assert answer.status_code == 422
    assert loc in [error["loc"] for error in answer.json()["detail"]["errors"]]
    assert not Preset.objects.exists()


@pytest.mark.parametrize("preset_id", ["x", "%00", "a" * 64, "..%2f", "é" * 3])
def test_an_id_that_was_not_given_here_is_not_found(ann: Send, preset_id: str) -> None:
    assert ann("GET", f"/presets/{preset_id}").status_code == 404


def test_a_key_gives_the_first_answer_again(ann: Send) -> None:
    first = ann("POST", "/presets", BODY, Idempotency_Key="k1")
    again = ann("POST", "/presets", BODY, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_of_racing_posts_one_makes_it(ann: Send) -> None:
    def post(_: int) -> int:
        try:
            return int(ann("POST", "/presets", BODY).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(post, range(16)))
    assert codes == [200] * 15 + [201]
    assert Preset.objects.count() == 1


def test_the_list_goes_on_by_key(ann: Send) -> None:
    for number in range(5):
        ann("POST", "/presets", {**BODY, "name": f"p{number}"})
    first = ann("GET", "/presets?limit=3").json()
    assert [row["name"] for row in first["results"]] == ["p4", "p3", "p2"]
    rest = ann("GET", first["next"].removeprefix("http://testserver")).json()
    assert ([row["name"] for row in rest["results"]], rest["next"]) == (["p1", "p0"], None)
