"""Request weights, counted as Binance counts them: so many per minute, then HTTP 429 with Retry-After."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

ENDPOINT_WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2}


@dataclass
class WeightMeter:
    """Weight used in the current window of real time, whatever the market's clock does.

    Parameters
    ----------
    limit : int or None
        Weight allowed per window; ``None`` for no limit.
    window : float
        Length of a window in seconds.
    """

    limit: int | None = None
    window: float = 60.0
    used: int = 0
    _started: float = field(default_factory=time.monotonic, repr=False)

    def charge(self, weight: int) -> int | None:
        """Count ``weight``; return the whole seconds to wait when the limit is exceeded, else ``None``."""
        elapsed = time.monotonic() - self._started
        if elapsed >= self.window:
            self._started += elapsed // self.window * self.window
            elapsed %= self.window
            self.used = 0
        self.used += weight
        if self.limit is None or self.used <= self.limit:
            return None
        return max(math.ceil(self.window - elapsed), 1)
