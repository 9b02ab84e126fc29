"""From what happens to a topic's submissions to metrics."""

from __future__ import annotations

import time

from crucible.chain.account import Account
from crucible.clock import SystemClock
from crucible.errors import ChainError
from crucible.worker.journal import Row
from crucible.worker.metrics import Metrics


class Watch:
    """Measures one topic of one wallet.

    Parameters
    ----------
    metrics : Metrics
        Where it is kept.
    account : Account
        Whose score is asked for.
    recipe : str
        The label ``recipe``.
    topic_id : int
        The topic.
    """

    def __init__(self, metrics: Metrics, account: Account, recipe: str, topic_id: int) -> None:
        self._metrics, self._account, self._topic_id = metrics, account, topic_id
        self._labels = {"recipe": recipe, "topic": str(topic_id)}
        self._opened: dict[int, float] = {}
        self._sent: dict[int, float] = {}

    def opened(self, nonce: int) -> None:
        """Note that the window of ``nonce`` is seen open."""
        self._opened.setdefault(nonce, time.monotonic())

    def moved(self, row: Row, bar_age: float | None, model_age: float | None) -> None:
        """Note a new state; ages in seconds of the clock, ``None`` if unknown."""
        metrics, labels, now = self._metrics, self._labels, time.monotonic()
        match row.state:
            case "signed" | "broadcast":
                self._sent.setdefault(row.nonce, now)
                if (opened := self._opened.pop(row.nonce, None)) is not None and row.state == "broadcast":
                    metrics.observe("crucible_window_to_broadcast_seconds", now - opened, **labels)
                if row.rung not in (None, "champion"):
                    metrics.count("crucible_fallback_total", rung=str(row.rung), **labels)
                for name, age in (("bar", bar_age), ("model", model_age)):
                    if age is not None:
                        metrics.set(f"crucible_{name}_age_seconds", age, **labels)
                metrics.set("crucible_fee_uallo", row.fee or 0, **labels)
            case "included":
                metrics.count("crucible_submissions_total", **labels)
                metrics.set("crucible_last_accepted_timestamp_seconds", SystemClock().now().timestamp(), **labels)
                if (sent := self._sent.pop(row.nonce, None)) is not None:
                    metrics.observe("crucible_broadcast_to_inclusion_seconds", now - sent, **labels)
            case "missed" | "rejected":
                metrics.count("crucible_missed_total", reason=str(row.reason_code), state=row.state, **labels)
                self._opened.pop(row.nonce, None)
                self._sent.pop(row.nonce, None)
            case "left_out":
                metrics.count("crucible_left_out_total", **labels)
            case "scored" if row.score is not None:
                metrics.set("crucible_score", row.score, **labels)

    async def look(self) -> None:
        """Ask for the moving average of scores."""
        try:
            ema = await self._account.client.score_ema(self._topic_id, self._account.wallet.address)
        except ChainError:
            return  # a figure for a chart; submissions do not depend on it
        if ema is not None:
            self._metrics.set("crucible_score_ema", ema, **self._labels)
