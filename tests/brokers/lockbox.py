"""The venue `lockbox` among the adapters, found by being there."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from trading.brokers import adapters

FOLDER = Path(__file__).parent / "venues"


@pytest.fixture
def lockbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The venue's module: what it was sent, and how to make it fail."""
    monkeypatch.setattr(adapters, "__path__", [*adapters.__path__, str(FOLDER)])
    module = importlib.import_module("trading.brokers.adapters.lockbox")
    module.OPENED.clear()
    module.FAULT.clear()
    yield module
    module.OPENED.clear()
    module.FAULT.clear()
