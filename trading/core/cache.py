"""The cache's wire form: JSON, so that nothing read from Redis can run code."""

import json
from typing import Any


class JsonSerializer:
    """Serialise cache values as JSON; what JSON cannot hold raises ``TypeError`` at the writer."""

    def dumps(self, value: Any) -> bytes | int:
        """Integers stay integers so that Redis can increment them."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

    def loads(self, data: bytes) -> Any:
        """The value of ``data``; integers arrive as digits, which JSON reads too."""
        return json.loads(data)
