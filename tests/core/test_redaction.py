"""Known secrets are blotted out of what is written down, however a URL or JSON spells them."""

import json
import logging
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
import structlog
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from trading.core import redaction
from trading.core.logs import configure
from trading.core.redaction import BLOT, blot, know


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    """What these tests make known must not be blotted out elsewhere."""
    kept, pattern = redaction._known.copy(), redaction._pattern
    yield
    redaction._known.clear()
    redaction._known.update(kept)
    redaction._pattern = pattern


@given(st.text(min_size=redaction.SHORTEST, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_known_secret_is_in_no_spelling_left(secret: str, before: str, after: str) -> None:
    know([secret])
    for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
        assert form not in blot(before + form + after).replace(BLOT, "")


def test_longer_secrets_go_first_so_that_no_end_of_one_is_left() -> None:
    know(["canary-one", "canary-one-and-more"])
    assert blot("a canary-one-and-more b canary-one c") == f"a {BLOT} b {BLOT} c"


def test_words_are_left_alone_and_the_oldest_are_forgotten() -> None:
    know(["word"])
    assert blot("a word") == "a word"
    know(["canary-first"])
    know(f"filling-{number}" for number in range(redaction.MOST))
    assert blot("canary-first") == "canary-first"
    assert blot(settings.JWT_SECRET) == BLOT, "the platform's own are never forgotten"


def test_a_line_of_the_log_and_its_traceback_hold_none(capsys: pytest.CaptureFixture[str]) -> None:
    know(["canary-of-the-log"])
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        configure(level="DEBUG", as_json=True)
        for log in (structlog.get_logger("quantum.test"), logging.getLogger("quantum.test")):
            try:
                raise ValueError("canary-of-the-log")
            except ValueError:
                log.exception("it failed: canary-of-the-log")
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
    written = capsys.readouterr().err
    assert written.count("Traceback") == 2
    assert "canary-of-the-log" not in written
