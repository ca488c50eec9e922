"""The client library. This line chooses it: ib_async is the maintained successor and speaks the same calls.

Only the process of a login may import this: the library takes the event loop of whoever imports it, so that a worker's
children would share one with their parent. Never install both: they bring packages that overwrite each other.
"""

from typing import Any

import ib_insync as chosen

library: Any = chosen
