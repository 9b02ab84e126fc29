"""How long blocks take, and when to look next: near a window often, far from it seldom."""

from __future__ import annotations

import time
from collections import deque

from crucible.chain.answers import TopicInfo

_FEWEST, _MOST = 20, 200  # blocks over which the length of a block is measured
_SHORTEST, _LONGEST = 0.1, 10.0  # seconds between looks
_NEAR = 2  # blocks before a window is expected


class Pace:
    """Measures blocks, and tells how long to wait.

    Parameters
    ----------
    block : float
        What a block should take, real seconds; taken until enough blocks were seen.
    """

    def __init__(self, block: float) -> None:
        self._stated = block
        self._seen: deque[tuple[int, float]] = deque(maxlen=64)

    @property
    def block(self) -> float:
        """Real seconds that a block takes: measured, and at most five times off what it should take."""
        if len(self._seen) > 1:
            (low, start), (high, end) = self._seen[0], self._seen[-1]
            if _FEWEST <= high - low <= 10 * _MOST and end > start:
                return min(max((end - start) / (high - low), self._stated / 5), self._stated * 5)
        return self._stated

    def note(self, height: int) -> None:
        """Note that ``height`` is the last block now."""
        now = time.monotonic()
        if self._seen and height <= self._seen[-1][0]:
            return
        self._seen.append((height, now))
        while len(self._seen) > 2 and height - self._seen[0][0] > _MOST:
            self._seen.popleft()

    def pause(self, topic: TopicInfo, last_nonce: int) -> float:
        """Return the real seconds after which to look again, if nothing wakes us before.

        Parameters
        ----------
        topic : TopicInfo
            Its window sets the rate: at least four looks in each.
        last_nonce : int
            The newest nonce that is known, 0 for none; the next window should open one epoch after it.
        """
        block = self.block
        usual = min(max(topic.worker_window * block / 4, _SHORTEST), _LONGEST)
        if not last_nonce or not self._seen:
            return min(usual, max(block, _SHORTEST))
        height, at = self._seen[-1]
        height += int((time.monotonic() - at) / block) if block > 0 else 0
        to_go = (height - last_nonce) % topic.epoch_length
        to_go = topic.epoch_length - to_go
        if to_go <= _NEAR or height <= last_nonce + 1:
            return max(block / 2, _SHORTEST)
        return min(usual, max((to_go - _NEAR) * block, _SHORTEST))
