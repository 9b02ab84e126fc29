"""Counters, gauges and histograms in Prometheus' text format, served on loopback."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiohttp import web

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Bounds of the histograms of durations."""

METRICS: dict[str, tuple[str, str]] = {
    "crucible_window_to_broadcast_seconds": ("histogram", "From when the worker saw a window open to the broadcast."),
    "crucible_broadcast_to_inclusion_seconds": ("histogram", "From the broadcast until a block was seen to hold it."),
    "crucible_submissions_total": ("counter", "Submissions that a block accepted."),
    "crucible_missed_total": ("counter", "Windows without an accepted submission, by reason."),
    "crucible_left_out_total": ("counter", "Accepted submissions outside of the active set."),
    "crucible_fallback_total": ("counter", "Values that a rung below the champion gave, by rung."),
    "crucible_balance_uallo": ("gauge", "The wallet's balance."),
    "crucible_runway_days": ("gauge", "How long the balance lasts at the present fees and epochs."),
    "crucible_fee_uallo": ("gauge", "What the newest submission offered."),
    "crucible_model_age_seconds": ("gauge", "Time since the newest row that the served model was fitted on."),
    "crucible_bar_age_seconds": ("gauge", "Age of the newest bar at the newest prediction."),
    "crucible_score": ("gauge", "The newest score."),
    "crucible_score_ema": ("gauge", "The moving average of scores, by which the active set is chosen."),
    "crucible_reward_uallo": ("gauge", "The newest reward."),
    "crucible_last_accepted_timestamp_seconds": ("gauge", "When the newest submission was accepted, Unix time."),
    "crucible_endpoint_switches_total": ("counter", "How often another node took over."),
    "crucible_model_restarts_total": ("counter", "How often a process that predicts was replaced."),
    "crucible_contract_changes_total": ("counter", "How often the chain changed the topic under the worker."),
}
"""Every metric: its kind and what it says. ``docs/reference/worker.md`` shows this table."""


@dataclass
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0


class Metrics:
    """What one process measures. Values are kept by name and labels; only names of :data:`METRICS` are taken."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._histograms: dict[tuple[str, tuple[tuple[str, str], ...]], _Histogram] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge, or a counter that is counted elsewhere."""
        self._values[_key(name, labels)] = value

    def count(self, name: str, **labels: str) -> None:
        """Raise a counter by one."""
        key = _key(name, labels)
        self._values[key] = self._values.get(key, 0.0) + 1.0

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one duration, in seconds, to a histogram."""
        histogram = self._histograms.setdefault(_key(name, labels), _Histogram())
        histogram.counts[bisect.bisect_left(SECONDS, value)] += 1
        histogram.total += value

    def value(self, name: str, **labels: str) -> float | None:
        """Return a gauge's or counter's value, or ``None`` if it was never set."""
        return self._values.get(_key(name, labels))

    def text(self) -> str:
        """Return everything in Prometheus' text format, version 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name, (kind, words) in METRICS.items():
            values = [(labels, value) for (known, labels), value in sorted(self._values.items()) if known == name]
            histograms = [(labels, item) for (known, labels), item in sorted(self._histograms.items(), key=_first)
                          if known == name]  # fmt: skip
            if not values and not histograms:
                continue
            yield f"# HELP {name} {words}"
            yield f"# TYPE {name} {kind}"
            for labels, value in values:
                yield f"{name}{_braces(labels)} {_number(value)}"
            for labels, item in histograms:
                running = 0
                for bound, found in zip((*SECONDS, math.inf), item.counts, strict=True):
                    running += found
                    yield f"{name}_bucket{_braces((*labels, ('le', _number(bound))))} {running}"
                yield f"{name}_sum{_braces(labels)} {_number(item.total)}"
                yield f"{name}_count{_braces(labels)} {running}"


class MetricsServer:
    """Serves ``/metrics`` on a free loopback port. Use as an async context manager; ``url`` is where."""

    url: str

    def __init__(self, metrics: Metrics) -> None:
        application = web.Application()
        application.router.add_get("/metrics", self._answer)
        self._metrics = metrics
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/metrics"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text().encode(), headers={"Content-Type": _CONTENT_TYPE})


_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _key(name: str, labels: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    if name not in METRICS:
        raise KeyError(name)
    return name, tuple(sorted(labels.items()))


def _first(item: tuple[tuple[str, tuple[tuple[str, str], ...]], _Histogram]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return item[0]


def _braces(labels: tuple[tuple[str, str], ...]) -> str:
    escaped = ((name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for name, value in labels)
    text = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"{{{text}}}" if text else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))
