"""What trading costs and when a position is closed against the strategy's will: fees, borrowing, slippage, stops."""

from dataclasses import dataclass, field

import numpy as np

from trading.quant.sizing import require


@dataclass(frozen=True, slots=True)
class NoSlippage:
    """Fills at the reference price, whole."""


@dataclass(frozen=True, slots=True)
class SpreadPct:
    """Fills whole at P (1 + s/2) when buying and P (1 - s/2) when selling; ``spread`` s is the full spread as a
    fraction.

    Moving every price by 5 basis points against the trader is a spread of 0.0010.
    """

    spread: float

    def __post_init__(self) -> None:
        require(0.0 <= self.spread < 1.0, "spread must be from 0 to below 1, as a fraction of the price")


@dataclass(frozen=True, slots=True)
class ParticipationRate:
    """Fills at most ``cap`` of the bar's volume, carries the rest, and moves the price by k rho squared.

    rho is the filled quantity over the volume of the bar, k is ``impact``. The rest is carried to the following bars
    until it is filled or a new target replaces it. Source: the volume share models of zipline and Lean (k 0.1, cap
    0.025).
    """

    cap: float = 0.025
    impact: float = 0.1

    def __post_init__(self) -> None:
        require(0.0 < self.cap <= 1.0, "cap must be above 0 and at most 1")
        require(0.0 <= self.impact * self.cap**2 <= 0.5, "impact must not be negative, nor move the price by half")


Slippage = NoSlippage | SpreadPct | ParticipationRate


@dataclass(frozen=True, slots=True)
class Costs:
    """What is paid beside the price of the bar.

    ``fee_bps``: of the traded notional, each way. ``borrow_cost_bps``: per year of 365 days, of the short notional.
    ``slippage_bps``: of the price, against every market fill, on top of the ``slippage`` model.
    """

    fee_bps: float = 0.0
    borrow_cost_bps: float = 0.0
    slippage: Slippage = field(default_factory=NoSlippage)
    slippage_bps: float = 0.0

    def __post_init__(self) -> None:
        require(0.0 <= self.fee_bps < 10_000.0, "fee_bps must be from 0 to below 10000")
        require(0.0 <= self.borrow_cost_bps < np.inf, "borrow_cost_bps must not be negative")
        require(0.0 <= self.slippage_bps < 5_000.0, "slippage_bps must be from 0 to below 5000")

    def slippage_numbers(self) -> tuple[float, float, float]:
        """The share of the price that every fill loses, the largest share of the volume, the impact."""
        extra = self.slippage_bps / 1e4
        match self.slippage:
            case SpreadPct(spread):
                return extra + spread / 2.0, np.inf, 0.0
            case ParticipationRate(cap, impact):
                return extra, cap, impact
            case NoSlippage():
                return extra, np.inf, 0.0


@dataclass(frozen=True, slots=True)
class Stops:
    """Distances as fractions: of the mean entry price, or for ``trailing`` of the best price since the entry; None is
    off."""

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing: float | None = None

    def __post_init__(self) -> None:
        for name in ("stop_loss", "take_profit", "trailing"):
            distance = getattr(self, name)
            require(distance is None or 0.0 < distance < np.inf, f"{name} must be above 0, as a fraction of the price")

    def numbers(self) -> tuple[float, float, float]:
        """Stop loss, take profit and trailing distance, infinite where there is none."""
        return (
            np.inf if self.stop_loss is None else self.stop_loss,
            np.inf if self.take_profit is None else self.take_profit,
            np.inf if self.trailing is None else self.trailing,
        )
