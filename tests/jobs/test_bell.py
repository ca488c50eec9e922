"""Ringing at a broker that is not there."""

from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from workers.celery import app


def test_a_broker_that_was_never_reached_is_tried_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"who enqueues would wait for {seconds:g} s and more")

    monkeypatch.setattr("kombu.utils.functional.sleep", sleep)
    with (
        app.connection_for_write(f"redis+socket://{tmp_path}/nobody.sock?virtual_host=0") as connection,
        pytest.raises(OperationalError),
    ):
        connection.default_channel  # noqa: B018  # what sending opens
