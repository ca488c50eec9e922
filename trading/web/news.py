"""Pages that ask for news of themselves: they bring along what they show, and get 204 while that is still so."""

import hashlib
import json
from typing import Any

from django.http import HttpRequest


def digest(shown: Any) -> str:
    """What a page shows that changes, in a word: of another content it is another. ``shown`` is JSON but for times."""
    return hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()[:16]


def asked(request: HttpRequest) -> bool:
    """Whether the page itself asks, so that the part that changes is the answer."""
    return bool(request.headers.get("HX-Request"))


def is_none(request: HttpRequest, seen: str) -> bool:
    """Whether the page that asks shows what ``seen``, a `digest`, stands for."""
    return asked(request) and request.GET.get("seen") == seen
