"""What one comparison of an account has found, and what it came to."""

from dataclasses import dataclass, field
from typing import Final

from trading.core import redaction
from trading.execution.differences import Found
from trading.execution.models import DifferenceKind
from trading.jobs.outcomes import LeaseLost, RunCancelled

STOPPED: Final = (LeaseLost, RunCancelled)
"""What ends a comparison from outside, and says nothing of an account."""


@dataclass
class Look:
    """What one comparison has found, and which kinds it could compare."""

    found: list[Found] = field(default_factory=list)
    compared: set[DifferenceKind] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    """Symbols in which something was under way, so that their positions could not be compared."""
    errors: list[str] = field(default_factory=list)
    is_away: bool = False
    has_failed: bool = False


@dataclass(frozen=True)
class Outcome:
    """A comparison in numbers: differences that are new, that stand, and that have gone; why it is not complete.

    ``settling``: of the unknown orders, those that asking again soon will end. ``has_failed``: by what no venue does, a
    fault of ours or an answer that nobody has thought of, so that somebody has to look.
    """

    new: int
    standing: int
    gone: int
    unknown_orders: int
    error: str
    settling: int = 0
    has_failed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything could be compared."""
        return not self.error


def told(error: Exception) -> str:
    """An error that nobody has foreseen, in a line without secrets."""
    return redaction.blot(f"unexpected {type(error).__name__}: {error}")
