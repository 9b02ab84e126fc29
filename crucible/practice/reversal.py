r"""What a momentum market may turn into: one whose returns come back, as predictable as before.

Turning the sign of :mod:`crucible.practice.signal` would not do: its momentum is one of shocks, the returns would fight
their own shocks, and their autocorrelation would vanish instead of turning. Here the memory is one of the standardised
returns themselves, :math:`z_t = \phi z_{t-1} + s u_t` with :math:`s = \sqrt{1-\phi^2}`, and

.. math:: u_{t+1} = a\,\varepsilon_{t+1} - \kappa z_t ,

so that :math:`z` is an autoregression with persistence :math:`\phi' = \phi - \kappa s`, and :math:`a` makes the
variance of :math:`u` one. The best forecast of the next H returns is :math:`-\kappa z_t (1-\phi'^H)/(1-\phi')`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from crucible.errors import SettingsError
from crucible.practice.signal import PlantedSignal

_STRONGEST = 1.0


@dataclass(frozen=True)
class Reversal:
    """Strength ``kappa`` per minute, memory ``phi``, and by what returns are multiplied, ``scale``."""

    kappa: float
    phi: float
    scale: float = 1.0

    @property
    def persistence(self) -> float:
        """How much of z is left after a minute."""
        return self.phi - self.kappa * self.gain

    @property
    def gain(self) -> float:
        """How much of a minute's standardised return enters z."""
        return math.sqrt(1.0 - self.phi**2)

    @property
    def noise(self) -> float:
        """Standard deviation of what cannot be known of a minute's standardised return."""
        return 1.0 / math.sqrt(1.0 + self.kappa**2 * self.gain**2 / (1.0 - self.persistence**2))

    @property
    def spread(self) -> float:
        """Standard deviation of z."""
        return self.gain * self.noise / math.sqrt(1.0 - self.persistence**2)

    def reach(self, steps: int) -> float:
        """Return by what the expected return over ``steps`` minutes is less than 0, per unit of z."""
        return self.kappa * (1.0 - self.persistence**steps) / (1.0 - self.persistence)

    def variance(self, steps: int) -> float:
        """Return the variance of the sum of ``steps`` standardised returns, before ``scale``."""
        left, decayed = 1.0 - self.persistence, 1.0 - self.persistence**steps
        c = -self.kappa * (self.gain - self.phi * self.kappa * self.spread**2)
        return steps + 2.0 * c * (steps * left - decayed) / left**2

    def correlation(self, horizon: timedelta) -> float:
        """Return the attainable correlation of a forecast with the return over the next ``horizon``."""
        steps = horizon // timedelta(minutes=1)
        return self.reach(steps) * self.spread / math.sqrt(self.variance(steps))


def reversal_of(signal: PlantedSignal, horizon: timedelta) -> Reversal:
    """Return the reversal with the attainable correlation, the memory and the volatility of ``signal`` at ``horizon``.

    Raises
    ------
    SettingsError
        If no reversal is that predictable.
    """
    wanted, steps = signal.correlation(horizon), horizon // timedelta(minutes=1)
    low, high = 0.0, _STRONGEST
    if Reversal(high, signal.phi).correlation(horizon) < wanted:
        raise SettingsError(
            f"No reversal attains a correlation of {wanted:.2f}; take a weaker signal, or a longer horizon."
        )
    for _ in range(60):  # the correlation rises with kappa, so halving finds it
        middle = (low + high) / 2
        if Reversal(middle, signal.phi).correlation(horizon) < wanted:
            low = middle
        else:
            high = middle
    found = Reversal((low + high) / 2, signal.phi)
    # a break of the signal alone: what the horizon's returns are like in size stays as it was
    return Reversal(found.kappa, found.phi, math.sqrt(signal.variance(steps) / found.variance(steps)))
