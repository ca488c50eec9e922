"""Secrets that this process knows, blotted out of whatever it writes down: logs, tracebacks, errors of runs.

Names that sound secret are hidden too (`trading.core.logs`); this catches the value itself, also where a venue echoes
it in the text of an error.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Final
from urllib.parse import quote, quote_plus

BLOT: Final = "[hidden]"
SHORTEST: Final = 6
"""Shorter values are words that stand in any text."""
MOST: Final = 1000
"""How many are remembered; the oldest are forgotten first."""

_lock = Lock()
_lasting: set[str] = set()
_known: OrderedDict[str, None] = OrderedDict()
_pattern: re.Pattern[str] | None = None


def know(secrets: Iterable[str], *, lasting: bool = False) -> None:
    """Blot out each of ``secrets`` from now on, also as URLs and JSON spell it; ``lasting``: never forget them."""
    global _pattern
    forms = [
        form
        for secret in secrets
        if len(secret) >= SHORTEST
        for form in {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    ]
    with _lock:
        if all(form in _lasting or form in _known for form in forms):
            return
        if lasting:
            _lasting.update(forms)
        else:
            _known.update(dict.fromkeys(forms))
        while len(_known) > MOST:
            _known.popitem(last=False)
        longest_first = sorted({*_lasting, *_known}, key=lambda form: (-len(form), form))
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def blot(text: str) -> str:
    """``text`` without any secret that is known."""
    return text if _pattern is None else _pattern.sub(BLOT, text)
