"""One topic's state and its clock: epochs, worker and reputer windows, what was submitted, losses and scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np

from crucible.localnet.events import Event, typed
from crucible.network.synthesis import combine, ema, inferer_scores, network_losses, one_outs

EMA_ALPHA = 0.1
"""Merit sortition alpha: how fast EMA scores follow scores."""

KEPT = 200
"""How many nonces are remembered; the chain keeps 100 unfulfilled ones of each kind."""

INFERER = "ACTOR_TYPE_INFERER_UNSPECIFIED"


@dataclass(frozen=True)
class TopicSpec:
    """What a topic asks, in blocks.

    ``ground_truth_lag`` must be a multiple of ``epoch_length``; then every chain version agrees on the reputer window.
    """

    id: int
    metadata: str
    loss_method: str
    asset: str
    target: str
    symbol: str
    interval_seconds: int
    horizon_seconds: int
    cadence_seconds: int
    epoch_length: int
    ground_truth_lag: int
    worker_window: int

    def __post_init__(self) -> None:
        if self.ground_truth_lag % self.epoch_length or not 0 < self.worker_window <= self.epoch_length:
            raise ValueError(f"topic {self.id}: the lag must be whole epochs and the window at most one epoch")


@dataclass
class Nonce:
    """Everything about one epoch, named by the block height at which it opened.

    ``losses`` holds, per reputer, log10 losses by name: ``combined``, ``naive``, ``inferer:<address>``,
    ``without:<address>``.
    """

    height: int
    time: float
    inferences: dict[str, str] = field(default_factory=dict)
    closed: bool = False
    combined: float | None = None
    without: dict[str, float] = field(default_factory=dict)
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    settled: bool = False
    network_losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass
class Topic:
    """A topic as it stands. ``stakes`` are the reputers' own, in uallo."""

    spec: TopicSpec
    epoch_last_ended: int = 0
    workers: set[str] = field(default_factory=set)
    reputers: set[str] = field(default_factory=set)
    stakes: dict[str, int] = field(default_factory=dict)
    nonces: dict[int, Nonce] = field(default_factory=dict)
    emas: dict[str, float] = field(default_factory=dict)

    def clone(self) -> Topic:
        """Return a copy that messages may change; settled nonces, which no message touches, are shared."""
        return replace(
            self,
            workers=set(self.workers),
            reputers=set(self.reputers),
            stakes=dict(self.stakes),
            nonces={
                height: nonce
                if nonce.settled
                else replace(nonce, inferences=dict(nonce.inferences), losses=dict(nonce.losses))
                for height, nonce in self.nonces.items()
            },
        )

    def worker_nonces(self) -> list[int]:
        """Return the unfulfilled worker nonces, ascending."""
        return [height for height, nonce in sorted(self.nonces.items()) if not nonce.closed]

    def reputer_nonces(self) -> list[int]:
        """Return the unfulfilled reputer nonces, ascending."""
        return [
            height for height, nonce in sorted(self.nonces.items()) if nonce.combined is not None and not nonce.settled
        ]

    def worker_window_open(self, nonce: int, height: int) -> bool:
        """Return whether a payload for ``nonce`` may be in block ``height``; both ends are inclusive."""
        return nonce <= height <= nonce + self.spec.worker_window

    def reputer_window_open(self, nonce: int, height: int) -> bool:
        """Return whether a loss bundle for ``nonce`` may be in block ``height``; both ends are inclusive."""
        start = nonce + self.spec.ground_truth_lag
        return start <= height <= start + self.spec.epoch_length

    def end_block(self, height: int, time: float) -> list[Event]:
        """Advance the topic's clock at the end of block ``height`` and return the block's events."""
        spec, events = self.spec, []
        if abs(time - round(time / spec.cadence_seconds) * spec.cadence_seconds) < 1e-3:  # a sum of floats, not exact
            self.epoch_last_ended = height
            self.nonces[height] = Nonce(height, time)
            events.append(self._window("EventWorkerSubmissionWindowOpened", height, height + spec.worker_window))
        for nonce in list(self.nonces.values()):
            if not nonce.closed and height >= nonce.height + spec.worker_window:
                events += self._close_worker_window(nonce)
            start = nonce.height + spec.ground_truth_lag
            if nonce.combined is not None and height == start:
                events.append(
                    self._window("EventReputerSubmissionWindowOpened", nonce.height, start + spec.epoch_length)
                )
            if nonce.combined is not None and not nonce.settled and height >= start + spec.epoch_length:
                events += self._settle(nonce)
        for old in sorted(self.nonces)[: max(len(self.nonces) - self._kept(), 0)]:
            del self.nonces[old]
        return events

    def _kept(self) -> int:
        # a topic with a long horizon has many epochs in flight
        return KEPT + self.spec.ground_truth_lag // self.spec.epoch_length

    def _close_worker_window(self, nonce: Nonce) -> list[Event]:
        nonce.closed = True
        if not nonce.inferences:
            return []
        addresses = sorted(nonce.inferences)
        values = np.array([float(nonce.inferences[address]) for address in addresses])
        nonce.combined = combine(values)
        if len(values) > 1:
            nonce.without = dict(zip(addresses, one_outs(values).tolist(), strict=True))
        ids = {"topic_id": self.spec.id, "nonce_block_height": nonce.height}
        return [
            typed("EventWorkerLastCommitSet", topic_id=self.spec.id, nonce={"block_height": str(nonce.height)},
                  block_height=nonce.height + self.spec.worker_window),
            typed("EventWorkerSubmissionWindowClosed", **ids),
        ]  # fmt: skip

    def _settle(self, nonce: Nonce) -> list[Event]:
        nonce.settled = True
        if not nonce.losses:
            return []
        reputers = sorted(nonce.losses)
        names = sorted({name for losses in nonce.losses.values() for name in losses})
        matrix = np.array([[nonce.losses[reputer].get(name, np.nan) for name in names] for reputer in reputers])
        stakes = np.array([float(self.stakes.get(reputer, 0)) for reputer in reputers])
        nonce.network_losses = dict(zip(names, network_losses(matrix, stakes).tolist(), strict=True))
        addresses = sorted(nonce.inferences)
        if len(addresses) == 1:
            scores = np.zeros(1)
        else:
            without = np.array([nonce.network_losses.get(f"without:{address}", np.nan) for address in addresses])
            scores = inferer_scores(nonce.network_losses["combined"], without)
        known = {address: float(score) for address, score in zip(addresses, scores, strict=True) if np.isfinite(score)}
        nonce.scores = known
        for address, score in known.items():
            self.emas[address] = ema(EMA_ALPHA, score, self.emas.get(address))
        return self._score_events(nonce)

    def _score_events(self, nonce: Nonce) -> list[Event]:
        addresses, topic = sorted(nonce.scores), self.spec.id
        common = {"actor_type": INFERER, "topic_id": topic, "addresses": addresses}
        bundle = {name: str(value) for name, value in nonce.network_losses.items() if ":" not in name}
        return [
            typed("EventNetworkLossSet", topic_id=topic, block_height=nonce.height,
                  nonce={"block_height": str(nonce.height)}, bundle=bundle),
            typed("EventScoresSet", block_height=nonce.height, scores=[nonce.scores[a] for a in addresses], **common),
            typed("EventEMAScoresSet", nonce=nonce.height, scores=[self.emas[a] for a in addresses],
                  is_active=["true"] * len(addresses), **common),
            typed("EventReputerSubmissionWindowClosed", topic_id=topic, nonce_block_height=nonce.height),
        ]  # fmt: skip

    def _window(self, name: str, nonce: int, end: int) -> Event:
        return typed(name, topic_id=self.spec.id, nonce_block_height=nonce, window_end_block=end)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **asdict(self),
            "workers": sorted(self.workers),
            "reputers": sorted(self.reputers),
            "nonces": {str(height): asdict(nonce) for height, nonce in self.nonces.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the topic that :meth:`to_json` described."""
        return cls(
            spec=TopicSpec(**values["spec"]),
            epoch_last_ended=values["epoch_last_ended"],
            workers=set(values["workers"]),
            reputers=set(values["reputers"]),
            stakes=values["stakes"],
            nonces={int(height): Nonce(**nonce) for height, nonce in values["nonces"].items()},
            emas=values["emas"],
        )
