"""One topic's state: what it asks, who takes part, what was submitted for each nonce, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from crucible.localnet.mechanism_state import state_from_json, state_to_json
from crucible.network.parameters import Parameters
from crucible.network.state import TopicState

VERSION = "0.16"
"""The newest protocol whose formulas :mod:`crucible.network` has; the messages are those of emissions v10."""

KEPT = 200
"""How many nonces are remembered; the chain keeps 100 unfulfilled ones of each kind."""


@lru_cache(maxsize=64)
def _parameters(changes: tuple[tuple[str, float], ...]) -> Parameters:
    # a lone competitor must be enough to end the newcomers' plain mean; the chain waits for ten experienced workers
    defaults: dict[str, Any] = {"min_experienced": 1, "implied_one_out_losses": True}
    return Parameters.of(VERSION, **{**defaults, **dict(changes)})


@dataclass(frozen=True)
class TopicSpec:
    """What a topic asks, in blocks.

    Attributes
    ----------
    cadence_seconds : int
        Epochs end at whole multiples of it (Unix time); 0 for a topic that counts blocks since its last epoch.
    worker_window, ground_truth_lag, epoch_length : int
        In blocks. Choose the lag as whole epochs; then every chain version agrees on the reputer window.
    changes : tuple of pairs
        Names and values of :class:`crucible.network.parameters.Parameters` that differ from the defaults;
        ``max_top_inferers`` and its siblings bound the active sets.
    sponsored : bool
        Whether localnet keeps the topic active without anybody's funds and stake.
    creator : str
        The address that may change the topic's whitelists.
    kind, arity : str
        ``regression`` or ``classification``, ``single`` or ``multi``; localnet itself settles scalar topics only.

    Raises
    ------
    ValueError
        A worker window that is empty or longer than an epoch, or a lag shorter than an epoch.
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
    changes: tuple[tuple[str, float], ...] = ()
    sponsored: bool = True
    creator: str = "localnet"
    allow_negative: bool = False
    kind: str = "regression"
    arity: str = "single"

    def __post_init__(self) -> None:
        if not 0 < self.worker_window <= self.epoch_length <= self.ground_truth_lag:
            raise ValueError(f"topic {self.id}: the window must fit into the epoch, and the epoch into the lag")

    @property
    def parameters(self) -> Parameters:
        """The mechanism's numbers for this topic."""
        return _parameters(self.changes)

    def worker_end(self, nonce: int) -> int:
        """Return the last block whose transactions count for worker nonce ``nonce``."""
        return nonce + self.worker_window

    def reputer_start(self, nonce: int) -> int:
        """Return the first block of the reputer window, on the grid of epochs."""
        return nonce + self.ground_truth_lag + -self.ground_truth_lag % self.epoch_length

    def reputer_end(self, nonce: int) -> int:
        """Return the last block of the reputer window."""
        return self.reputer_start(nonce) + self.epoch_length


@dataclass
class Nonce:
    """Everything about one epoch, named by the block height at which it opened.

    Attributes
    ----------
    time : float
        Of that block, Unix seconds.
    inferences : dict
        Active inferer -> value as text, in the order of submission.
    forecasts : dict
        Active forecaster -> inferer -> log10 loss as text.
    closed, settled : bool
        Whether the worker window, and the reputer window, is over.
    mode : str
        How the network inferred: ``single``, ``median`` or ``full``; empty without any inference.
    network : dict
        What the network inferred, topic units, by the names of :mod:`crucible.localnet.bundles`.
    losses : dict
        Active reputer -> log10 losses by name.
    network_losses : dict
        Of the network, log10, by name.
    scores, forecaster_scores, reputer_scores : dict
        By address.
    rewards : dict
        Kind (``inferer``, ``forecaster``, ``reputer``) -> address -> uallo, not yet truncated.
    failure : str
        Why the mechanism could not settle the epoch, or paid nobody.
    """

    height: int
    time: float
    inferences: dict[str, str] = field(default_factory=dict)
    forecasts: dict[str, dict[str, str]] = field(default_factory=dict)
    closed: bool = False
    mode: str = ""
    network: dict[str, float] = field(default_factory=dict)
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    settled: bool = False
    network_losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    forecaster_scores: dict[str, float] = field(default_factory=dict)
    reputer_scores: dict[str, float] = field(default_factory=dict)
    rewards: dict[str, dict[str, float]] = field(default_factory=dict)
    failure: str = ""

    @property
    def combined(self) -> float | None:
        """The network inference, once the worker window has closed with one."""
        return self.network.get("combined")

    @property
    def without(self) -> dict[str, float]:
        """The network inference without each inferer."""
        return {key[8:]: value for key, value in self.network.items() if key.startswith("without:")}


@dataclass(frozen=True)
class Removal:
    """Stake that leaves at block ``due``; ``delegator`` is empty for a reputer's own."""

    reputer: str
    delegator: str
    amount: int
    started: int
    due: int


@dataclass
class Topic:
    """A topic as it stands.

    Attributes
    ----------
    stakes : dict
        Reputer -> its own stake, uallo.
    delegations, delegate_rewards : dict
        Reputer -> delegator -> stake, and reward not yet claimed, uallo.
    ema_nonces : dict
        ``<kind>:<address>`` -> the nonce at which the score average was last touched.
    fee_revenue : int
        What registrations, payloads and funders paid, less what dripped away, uallo.
    paused : bool
        By a fault. Faults do not survive a restart.
    original : TopicSpec, optional
        What the topic asks without the fault that has changed ``spec``.
    weight : float
        The moving average that decides on activity and on the topic's part of the emission.
    mechanism : TopicState
        Regrets, averages, listening coefficients.
    """

    spec: TopicSpec
    epoch_last_ended: int = 0
    workers: set[str] = field(default_factory=set)
    reputers: set[str] = field(default_factory=set)
    stakes: dict[str, int] = field(default_factory=dict)
    delegations: dict[str, dict[str, int]] = field(default_factory=dict)
    delegate_rewards: dict[str, dict[str, int]] = field(default_factory=dict)
    removals: list[Removal] = field(default_factory=list)
    nonces: dict[int, Nonce] = field(default_factory=dict)
    ema_nonces: dict[str, int] = field(default_factory=dict)
    worker_list: set[str] = field(default_factory=set)
    reputer_list: set[str] = field(default_factory=set)
    worker_list_on: bool = False
    reputer_list_on: bool = False
    fee_revenue: int = 0
    weight: float = 0.0
    active: bool = True
    paused: bool = False
    original: TopicSpec | None = None
    mechanism: TopicState = field(init=False)

    def __post_init__(self) -> None:
        self.mechanism = TopicState.new(self.spec.parameters)

    @property
    def emas(self) -> dict[str, float]:
        """Inferers' score averages, of those who have one."""
        return self.score_averages("inferer")

    def score_averages(self, kind: str) -> dict[str, float]:
        """Return the score averages of all ``inferer``, ``forecaster`` or ``reputer`` actors that have one."""
        actors = getattr(self.mechanism, f"{kind}s")
        pairs = zip(actors.names, actors.score_ema.tolist(), strict=True)
        return {name: score for name, score in pairs if score == score}

    def clone(self) -> Topic:
        """Return a copy that messages may change; settled nonces, which no message touches, are shared."""
        copy = replace(
            self,
            workers=set(self.workers),
            reputers=set(self.reputers),
            stakes=dict(self.stakes),
            delegations={reputer: dict(held) for reputer, held in self.delegations.items()},
            delegate_rewards={reputer: dict(held) for reputer, held in self.delegate_rewards.items()},
            removals=list(self.removals),
            ema_nonces=dict(self.ema_nonces),
            worker_list=set(self.worker_list),
            reputer_list=set(self.reputer_list),
            nonces={
                height: nonce
                if nonce.settled
                else replace(
                    nonce, inferences=dict(nonce.inferences), forecasts=dict(nonce.forecasts), losses=dict(nonce.losses)
                )
                for height, nonce in self.nonces.items()
            },
        )
        copy.mechanism = self.mechanism
        return copy

    def stake_of(self, reputer: str) -> int:
        """Return a reputer's stake, its delegators' included, uallo."""
        return self.stakes.get(reputer, 0) + sum(self.delegations.get(reputer, {}).values())

    @property
    def stake(self) -> int:
        """All stake on the topic, uallo."""
        return sum(self.stakes.values()) + sum(sum(held.values()) for held in self.delegations.values())

    @property
    def runs(self) -> bool:
        """Whether epochs end and windows open."""
        return self.active and not self.paused

    def worker_nonces(self) -> list[int]:
        """Return the unfulfilled worker nonces, ascending."""
        return [height for height, nonce in sorted(self.nonces.items()) if not nonce.closed]

    def reputer_nonces(self) -> list[int]:
        """Return the unfulfilled reputer nonces, ascending; all in flight, not only those whose window is open."""
        return [height for height, nonce in sorted(self.nonces.items()) if nonce.network and not nonce.settled]

    def worker_window_open(self, nonce: int, height: int) -> bool:
        """Return whether a payload for ``nonce`` may be in block ``height``; both ends are inclusive."""
        return nonce <= height <= self.spec.worker_end(nonce)

    def reputer_window_open(self, nonce: int, height: int) -> bool:
        """Return whether a loss bundle for ``nonce`` may be in block ``height``; both ends are inclusive."""
        return self.spec.reputer_start(nonce) <= height <= self.spec.reputer_end(nonce)

    def forget(self) -> None:
        """Drop the oldest nonces beyond what is kept; a topic with a long horizon has many epochs in flight."""
        kept = KEPT + self.spec.ground_truth_lag // self.spec.epoch_length
        for old in sorted(self.nonces)[: max(len(self.nonces) - kept, 0)]:
            del self.nonces[old]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in _ELSEWHERE}
        plain |= {
            "spec": asdict(self.original or self.spec),
            "removals": [asdict(removal) for removal in self.removals],
        }
        lists = {name: sorted(plain[name]) for name in _SETS}
        nonces = {str(height): asdict(nonce) for height, nonce in self.nonces.items()}
        return {**plain, **lists, "nonces": nonces, "mechanism": state_to_json(self.mechanism)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the topic that :meth:`to_json` described."""
        plain = dict(values)
        mechanism = state_from_json(plain.pop("mechanism"))
        spec = dict(plain.pop("spec"))
        spec["changes"] = tuple((name, value) for name, value in spec["changes"])
        for name in _SETS:
            plain[name] = set(plain[name])
        plain["removals"] = [Removal(**removal) for removal in plain["removals"]]
        plain["nonces"] = {int(height): Nonce(**nonce) for height, nonce in plain["nonces"].items()}
        topic = cls(spec=TopicSpec(**spec), **plain)
        topic.mechanism = mechanism
        return topic


_ELSEWHERE = ("mechanism", "nonces", "original", "paused")
_SETS = ("workers", "reputers", "worker_list", "reputer_list")
